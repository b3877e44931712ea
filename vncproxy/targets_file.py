"""What the gateway has to know of certain VNC servers: their passwords, and whether they speak TLS.

The file has a section for each server, or pattern of servers; the first that fits counts:

    [10.0.0.5:5901]
    password = secret

    [*.lab.example:*]
    username = console
    password = other
    tls = yes
"""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase

from vncproxy.errors import SecurityFailed
from vncproxy.model import Credentials

_OPTIONS = frozenset({"username", "password", "tls"})


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """What the file says of one server.

    Attributes:
        credentials: what to say when it asks who we are, or None.
        tls: whether it speaks TLS from the first byte.
    """

    credentials: Credentials | None = None
    tls: bool = False


class TargetsFile:
    """The file, read when it is first needed, and again when it has changed.

    Args:
        path: of the file; None for no file, which says nothing of any server.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._read_at: object = None
        self._sections: list[tuple[str, TargetOptions]] = []

    def options_for(self, target: str) -> TargetOptions:
        """Return what the file says of a server, by its ``host:port``.

        Raises:
            SecurityFailed: the file can't be read or understood; no server is dialled on a guess.
        """
        if self._path is None:
            return TargetOptions()
        self._read_again_if_changed(self._path)
        for pattern, options in self._sections:
            if fnmatchcase(target, pattern):
                return options
        return TargetOptions()

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


def _read(path: str) -> list[tuple[str, TargetOptions]]:
    parser = configparser.RawConfigParser(default_section="")
    with open(path, encoding="utf-8") as file:
        parser.read_file(file)
    return [(name, _options(name, parser[name])) for name in parser.sections()]


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
