"""Facts about certain VNC servers: their passwords, and whether they speak TLS.

The file has a section for each server, or pattern of servers, in which ``*`` stands for any
characters; the first that fits counts:

    [10.0.0.5:5901]
    password = secret

    [[fd00::7]:*]
    tls = yes

    [*.lab.example:*]
    username = console
    password = other

    [unix:/run/consoles/*.sock]
    password = third
"""

from __future__ import annotations

import configparser
import ipaddress
import os
import re
from dataclasses import dataclass

from vncproxy.errors import SecurityFailed
from vncproxy.model import Credentials
from vncproxy.patterns import matches

_OPTIONS = frozenset({"username", "password", "tls"})
_SECTION = re.compile(
    r"(?:unix:)?(?P<path>/.+)|"
    r"(?:\[(?P<address>[^\]]+)\]|(?!unix:)(?P<host>[\w.*-]+)):(?P<port>[0-9*]{1,5})"
)
_NO_SERVER = (
    "the section is for no server: write host:port, [IPv6 address]:port or unix:/path, with * for "
    "any characters of a name, a path or a port, or * alone for every server"
)


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """What the file says of one server.

    Attributes:
        credentials: what to say when it asks who we are, or None.
        tls: whether it speaks TLS from the first byte.
    """

    credentials: Credentials | None = None
    tls: bool = False


@dataclass(frozen=True, slots=True)
class _Servers:
    """The servers that a section is for.

    Attributes:
        host: a pattern of hosts' names and addresses in their one spelling, or of sockets' paths.
        port: a pattern of ports; None with sockets.
    """

    host: str
    port: str | None

    @classmethod
    def parse(cls, name: str) -> _Servers:
        """Return the servers that a section's name describes.

        Raises:
            ValueError: no server can have such a name.
        """
        found = _SECTION.fullmatch(name)
        if found is None:
            raise ValueError(_NO_SERVER)
        path, address, host, port = found.group("path", "address", "host", "port")
        if path:
            return cls(path, None)
        if "*" not in port and not 0 < int(port) < 65536:
            raise ValueError(_NO_SERVER)
        # A malformed address is a ValueError, too, but one that repeats what stands there.
        if address and _spelled(address) is None:
            raise ValueError(_NO_SERVER)
        return cls(_canonical(address or host), port)

    def include(self, host: str, port: int) -> bool:
        """Return whether a server is one of them."""
        if host.startswith("/"):
            return self.port is None and matches(self.host, host)
        return (
            self.port is not None
            and matches(self.port, str(port))
            and matches(self.host, _canonical(host))
        )


def _spelled(host: str) -> str | None:
    """Return an IPv6 address in its one spelling, or the IPv4 address in it; else None."""
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return None
    return str(address.ipv4_mapped or address).lower()  # a mapped one reaches the IPv4 server


def _canonical(host: str) -> str:
    return _spelled(host) or host.lower().removesuffix(".")  # a name from the root is that name


class TargetsFile:
    """The file, read when it is first needed, and again when it has changed.

    Args:
        path: of the file; None for no file, which says nothing of any server.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._read_at: object = None
        self._sections: list[tuple[_Servers | None, TargetOptions]] = []

    def options_for(self, host: str, port: int) -> TargetOptions:
        """Return what the file says of a server.

        Args:
            host: its name or address, or the path of its UNIX socket.
            port: its TCP port.

        Raises:
            SecurityFailed: the file can't be read or understood; no server is dialled on a guess.
        """
        self.look()
        for servers, options in self._sections:
            if servers is None or servers.include(host, port):
                return options
        return TargetOptions()

    def look(self) -> None:
        """Read the file if it has changed.

        Raises:
            SecurityFailed: it can't be read or understood.
        """
        if self._path is not None:
            self._read_again_if_changed(self._path)

    def _read_again_if_changed(self, path: str) -> None:
        try:
            status = os.stat(path)
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._read_at:
                self._sections, self._read_at = _read(path), stamp
        except OSError as error:
            raise SecurityFailed(f"[vncproxy] targets_file: {path}: {error.strerror}") from error
        except configparser.Error as error:
            # "from None": the error's own text would repeat the line, and with it a password.
            where = f"{path}, line {_line(error)}"
            raise SecurityFailed(f"[vncproxy] targets_file: {where} is malformed") from None
        except ValueError as error:
            raise SecurityFailed(f"[vncproxy] targets_file: {path}: {error}") from None


def _line(error: configparser.Error) -> object:
    # A ParsingError has a list of (line number, line); the others have a number.
    errors = getattr(error, "errors", None)
    return errors[0][0] if errors else getattr(error, "lineno", "?")


def _read(path: str) -> list[tuple[_Servers | None, TargetOptions]]:
    parser = configparser.RawConfigParser(default_section="")
    with open(path, encoding="utf-8-sig") as file:  # some editors begin a file with a mark
        text = file.read()
    parser.read_string(text)
    return [(_servers(name, text), _options(name, parser[name])) for name in parser.sections()]


def _servers(name: str, text: str) -> _Servers | None:
    """Return the servers of a section; None for every server."""
    if name == "*":
        return None
    try:
        return _Servers.parse(name)
    except ValueError as error:
        raise ValueError(f"line {_line_of(name, text)}: {error}") from None


def _line_of(name: str, text: str) -> int | str:
    """Return the number of a section's line, which the parser does not tell."""
    for number, line in enumerate(text.splitlines(), 1):
        header = configparser.RawConfigParser.SECTCRE.match(line.strip())
        if header is not None and header["header"] == name:
            return number
    return "?"


def _options(name: str, section: configparser.SectionProxy) -> TargetOptions:
    if not _OPTIONS.issuperset(section):
        raise ValueError(f"[{name}] has an option that is none of {', '.join(sorted(_OPTIONS))}")
    password = section.get("password")
    credentials = None
    if password is not None:
        credentials = Credentials(password, section.get("username"))
    try:
        tls = section.getboolean("tls", fallback=False)
    except ValueError:
        raise ValueError(f"[{name}] tls is neither yes nor no") from None
    return TargetOptions(credentials, tls)
