"""A QEMU's name, state and consoles, out of its monitor's answers. Pure: values in, values out.

Source: https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html. An answer of a shape that is
not in there is taken for one that says nothing.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath

from vncproxy.compute.interface import NOVNC, SERIAL, SPICE, Server, Status
from vncproxy.compute.listening import Devices, Listening
from vncproxy.compute.lookup import canonical_id, made_up_id

ABOUT_SERVER = ("query-name", "query-uuid", "query-status")
ABOUT_CONSOLES = ("query-uuid", "query-vnc-servers", "query-vnc", "query-spice", "query-chardev")

_NO_UUID = str(uuid.UUID(int=0))
_STATUSES = {
    "running": Status.ACTIVE,
    "suspended": Status.SUSPENDED,
    "shutdown": Status.SHUTOFF,
    "guest-panicked": Status.ERROR,
    "internal-error": Status.ERROR,
    "io-error": Status.ERROR,
}
# `-serial`'s labels, libvirt's, and what people call a line that they make by `-chardev`.
_SERIAL_LABEL = re.compile("(char)?(serial|console)", re.IGNORECASE)
_LISTENING_CHARDEV = re.compile(
    r"(?:disconnected:)?(tcp|telnet|tn3270|websocket|unix):(.+?),server(?:=on)?(?: <-> .*)?",
    re.DOTALL,
)

Answers = Mapping[str, object]


def server_of(answers: Answers, socket: str) -> Server:
    """Return the server whose monitor is on this socket, by its answers to ``ABOUT_SERVER``.

    One that was started without a name is called as its socket is.
    """
    name = _text(answers.get("query-name"), "name") or PurePath(socket).stem
    state = _text(answers.get("query-status"), "status")
    # The other states, such as prelaunch and inmigrate, are ways of not running yet, or not now.
    status = _STATUSES.get(state, Status.PAUSED if state else Status.UNKNOWN)
    return Server(id_of(answers, socket), name, status, socket)


def id_of(answers: Answers, socket: str) -> str:
    """Return its UUID; one that follows from its socket's path where it was given none."""
    told = canonical_id(_text(answers.get("query-uuid"), "UUID"))
    return told if told and told != _NO_UUID else made_up_id(socket)


def consoles_of(answers: Answers) -> Devices:
    """Return the consoles, by the answers to ``ABOUT_CONSOLES``."""
    servers = answers.get("query-vnc-servers")
    if servers is None:  # a QEMU before 2.3
        vnc = _vnc_addresses([answers.get("query-vnc")])
    else:
        vnc = [found for server in _items(servers) for found in _vnc_server(server)]
    return (
        *((NOVNC, listening) for listening in vnc),
        *((SPICE, listening) for listening in _spice(answers.get("query-spice"))),
        *((SERIAL, line) for line in _serial_lines(answers.get("query-chardev"))),
    )


def _vnc_server(server: object) -> list[Listening]:
    addresses = _items(_value(server, "server"))
    websockets = [address for address in addresses if _value(address, "websocket") is True]
    plain = [address for address in addresses if address not in websockets]
    websocket_port = _port(_value(websockets[0], "service")) if websockets else None
    return [replace(found, websocket_port=websocket_port) for found in _vnc_addresses(plain)]


def _vnc_addresses(addresses: Iterable[object]) -> list[Listening]:
    found = []
    for address in addresses:
        service, port = _text(address, "service"), _port(_value(address, "service"))
        if _text(address, "family") == "unix" and service:
            found.append(Listening("", 0, socket=service))
        elif port is not None:
            found.append(Listening(_text(address, "host"), port))
    return found


def _spice(answer: object) -> Iterator[Listening]:
    host = _text(answer, "host")
    port, tls_port = _port(_value(answer, "port")), _port(_value(answer, "tls-port"))
    if host.startswith("/"):
        yield Listening("", 0, socket=host)
    elif port is not None or tls_port is not None:
        yield Listening(host, port or 0, tls_port)


def _serial_lines(answer: object) -> Iterator[Listening | str]:
    lines = [line for line in _items(answer) if _SERIAL_LABEL.match(_text(line, "label"))]
    for line in sorted(lines, key=lambda line: _text(line, "label")):
        match = _LISTENING_CHARDEV.fullmatch(_text(line, "filename"))
        if match is not None:
            yield _listening_chardev(match[1], match[2])


def _listening_chardev(kind: str, where: str) -> Listening | str:
    if kind == "unix":
        return Listening("", 0, socket=where)
    if kind != "tcp":
        return f"its serial line speaks {kind}; only raw TCP is understood"
    host, _, service = where.rpartition(":")
    port = _port(service)
    if port is None:
        return "its serial line has no port number"
    return Listening(host.removeprefix("[").removesuffix("]"), port)


def _value(answer: object, key: str) -> object:
    return answer.get(key) if isinstance(answer, dict) else None


def _text(answer: object, key: str) -> str:
    value = _value(answer, key)
    return value if isinstance(value, str) else ""


def _items(answer: object) -> list[object]:
    return answer if isinstance(answer, list) else []


def _port(value: object) -> int | None:
    """Return a port that is told as a number, or as the text of one."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,5}", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536:
        return value
    return None
