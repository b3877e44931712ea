"""The inventory: a YAML file of servers and their consoles. Pure: text in, values out.

    servers:
      - name: web1
        consoles:
          novnc: 10.0.0.5:5901
      - name: router
        id: 8f2c1f0e-5d0b-4c8e-9a57-0c9b3a3f6d11
        status: active
        host: rack 4
        project: network
        consoles:
          novnc:
            host: 10.0.0.6
            port: 5900
            username: admin
            password_file: router.password
            path: /consoles/router
          serial: unix:/run/router.sock
          spice-html5:
            host: 10.0.0.6
            port: 5910
            tls_port: 5911

A server without an id gets one that follows from its name. Every fault names its line, and never
repeats what stands there: it may be a password.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import yaml

from vncproxy.compute.interface import CONSOLE_TYPES, Console, Server, Status
from vncproxy.compute.lookup import canonical_id, made_up_id
from vncproxy.host_port import host_and_port
from vncproxy.model import Credentials

T = TypeVar("T")

_LONGEST_NAME = 255
_STATUSES = {status.value.lower(): status for status in Status}

try:
    _Loader: type[yaml.SafeLoader] = yaml.CSafeLoader  # type: ignore[assignment]  # ten times faster
except AttributeError:  # a PyYAML without libyaml
    _Loader = yaml.SafeLoader


class InventoryFault(Exception):
    """The inventory can't be used; the text is one line, and names the line of the file."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A server of the inventory.

    Attributes:
        server: itself.
        consoles: by type.
        password_files: by console type, where the password is in a file of its own.
    """

    server: Server
    consoles: Mapping[str, Console]
    password_files: Mapping[str, PasswordFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PasswordFile:
    """Where a console's password is: a path, relative to the inventory's directory."""

    path: str
    username: str | None


def parse_inventory(text: str) -> list[Entry]:
    """Return the servers of an inventory, in the file's order.

    Raises:
        InventoryFault: it is no YAML, or says something that an inventory does not.
    """
    root = _compose(text)
    if root is None:
        return []
    keys = _Keys(root, "the inventory", ("servers",))
    servers = keys.node("servers")
    if servers is None or _is_null(servers):
        return []
    if not isinstance(servers, yaml.SequenceNode):
        raise _fault(servers, "servers must be a list: one `- name: ...` for each")
    entries = []
    lines_by_id: dict[str, int] = {}
    for node in servers.value:
        entry = _entry(node)
        before = lines_by_id.get(entry.server.id)
        if before is not None:
            raise _fault(
                node,
                f"the server of line {before} has the same id, or the same name and no id; "
                "give each an id of its own",
            )
        lines_by_id[entry.server.id] = _line(node)
        entries.append(entry)
    return entries


def _compose(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        # What YAML says of the fault may quote the file.
        problem = re.sub(r"'[^']*'|\"[^\"]*\"", "...", error.problem or "malformed")
        raise InventoryFault(line, f"this is no YAML: {problem}") from None
    except yaml.YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
        raise InventoryFault(line, "a character that YAML does not allow") from None
    except RecursionError:
        raise InventoryFault(1, "this is nested too deeply") from None
    except Exception as error:  # whose text may quote the file
        raise InventoryFault(1, f"this can't be read: {type(error).__name__}") from None
    finally:
        loader.dispose()


def _entry(node: yaml.Node) -> Entry:
    keys = _Keys(node, "a server", ("name", "id", "status", "host", "project", "consoles"))
    name = keys.needed("name", _name)
    server = Server(
        id=keys.optional("id", _id) or made_up_id(name),
        name=name,
        status=keys.optional("status", _status) or Status.ACTIVE,
        host=keys.optional("host", _text) or "inventory",
        project=keys.optional("project", _text),
    )
    consoles: dict[str, Console] = {}
    password_files: dict[str, PasswordFile] = {}
    consoles_node = keys.node("consoles")
    if consoles_node is not None and not _is_null(consoles_node):
        of_type = _Keys(consoles_node, "consoles", CONSOLE_TYPES)
        for console_type, console_node in of_type.items():
            console, password_file = _console(console_type, console_node)
            consoles[console_type] = console
            if password_file is not None:
                password_files[console_type] = password_file
    return Entry(server, consoles, password_files)


def _console(console_type: str, node: yaml.Node) -> tuple[Console, PasswordFile | None]:
    if isinstance(node, yaml.ScalarNode):
        host, port = _address(node)
        return Console(console_type, host, port), None
    known = ("host", "port", "unix", "path", "username", "password", "password_file")
    keys = _Keys(node, console_type, (*known, "tls_port") if console_type != "novnc" else known)
    host, port, tls_port = _where(keys, node)
    username = keys.optional("username", _text)
    password = keys.optional("password", _secret)
    password_path = keys.optional("password_file", _text)
    if password is not None and password_path is not None:
        raise _fault(node, "give password or password_file, not both")
    if username is not None and password is None and password_path is None:
        raise _fault(node, "a username needs a password or a password_file")
    console = Console(
        console_type,
        host,
        port,
        tls_port=tls_port,
        path=keys.optional("path", _text),
        credentials=None if password is None else Credentials(password, username),
    )
    return console, None if password_path is None else PasswordFile(password_path, username)


def _where(keys: _Keys, node: yaml.Node) -> tuple[str, int, int | None]:
    """Return host, port and TLS port; or a UNIX socket's path, 0 and None."""
    path = keys.optional("unix", _path)
    host = keys.optional("host", _host)
    port = keys.optional("port", _port)
    tls_port = keys.optional("tls_port", _port)
    if path is not None:
        if host is not None or port is not None or tls_port is not None:
            raise _fault(node, "give unix, or host and port, not both")
        return path, 0, None
    if host is None or (port is None and tls_port is None):
        raise _fault(node, "give host and port, or unix")
    return host, port or 0, tls_port


class _Keys:
    """A mapping of the file: its keys, of which it may have only known ones, each once."""

    def __init__(self, node: yaml.Node, what: str, known: tuple[str, ...]) -> None:
        if not isinstance(node, yaml.MappingNode):
            raise _fault(node, f"{what} must be a mapping, with keys of {', '.join(known)}")
        self._node = node
        self._what = what
        self._values: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if key not in known:
                likely = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {likely[0]}?" if likely else f"known: {', '.join(known)}"
                raise _fault(key_node, f"{what} has no such key; {hint}")
            if key in self._values:
                raise _fault(key_node, f"{key} is given twice")
            self._values[key] = value

    def items(self) -> list[tuple[str, yaml.Node]]:
        """Return each key that is there, with its value as it stands in the file."""
        return list(self._values.items())

    def node(self, key: str) -> yaml.Node | None:
        """Return a key's value as it stands in the file, or None."""
        return self._values.get(key)

    def optional(self, key: str, read: Callable[[str], T]) -> T | None:
        """Return a key's value, read so, or None where the key is missing."""
        node = self._values.get(key)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or _is_null(node):
            raise _fault(node, f"{key} must be one value")
        try:
            return read(node.value)
        except ValueError as error:
            raise _fault(node, f"{key} must be {error}") from None

    def needed(self, key: str, read: Callable[[str], T]) -> T:
        """Return a key's value, read so."""
        value = self.optional(key, read)
        if value is None:
            raise _fault(self._node, f"{self._what} needs a {key}")
        return value


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


def _fault(node: yaml.Node, text: str) -> InventoryFault:
    return InventoryFault(_line(node), text)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


# Each reads a value's text, or raises ValueError with what it must be. The text counts, whatever
# YAML takes it for: a server may be named `on` or 1e3.


def _text(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("text on one line")
    return text


def _name(text: str) -> str:
    if len(text) > _LONGEST_NAME:
        raise ValueError(f"at most {_LONGEST_NAME} characters long")
    return _text(text)


def _secret(text: str) -> str:
    if not text:
        raise ValueError("text")
    return text


def _id(text: str) -> str:
    canonical = canonical_id(text)
    if canonical is None:
        raise ValueError("a UUID, such as 8f2c1f0e-5d0b-4c8e-9a57-0c9b3a3f6d11")
    return canonical


def _status(text: str) -> Status:
    if text.lower() not in _STATUSES:
        raise ValueError(f"one of {', '.join(_STATUSES)}")
    return _STATUSES[text.lower()]


def _host(text: str) -> str:
    host, port = host_and_port(text)
    if port is not None:
        raise ValueError("a host's name or address, and the port has a key of its own")
    return host


def _path(text: str) -> str:
    if not text.startswith("/") or not text.isprintable():
        raise ValueError("the absolute path of a UNIX socket")
    return text


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise ValueError("a TCP port, 1 to 65535")
    return int(text)


def _address(node: yaml.ScalarNode) -> tuple[str, int]:
    """Return host and port of `host:port`, `[IPv6]:port`, `/path` or `unix:/path`."""
    text = node.value.removeprefix("unix:")
    try:
        if text.startswith("/"):
            return _path(text), 0
        if ":" in text:
            host, port = host_and_port(text)
            if port is not None:
                return host, port
    except ValueError as error:
        raise _fault(node, f"a console's address has {error}") from None
    raise _fault(node, "a console must be host:port, [IPv6 address]:port, or unix:/path")
