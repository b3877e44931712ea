"""Where a console listens, in its own host's words, and what the gateway dials for that. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from vncproxy.compute.interface import Console, NoSuchConsole
from vncproxy.model import Credentials


@dataclass(frozen=True, slots=True)
class Listening:
    """A console's server, as its host tells of it.

    Attributes:
        address: that it listens on, or the name of one; "" or a wildcard for all.
        port: TCP port; 0 where it has none, or only one that speaks TLS.
        tls_port: TCP port that speaks TLS from the first byte, or None.
        websocket_port: of its WebSocket, or None.
        socket: path of the UNIX socket that it listens on instead, or None.
        credentials: that it asks for, where the host tells.
    """

    address: str
    port: int
    tls_port: int | None = None
    websocket_port: int | None = None
    socket: str | None = None
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """How the gateway reaches a host.

    Attributes:
        address: name or address, for what listens on every address of the host.
        local: whether it is the gateway's own host, with its loopback and its UNIX sockets.
    """

    address: str
    local: bool


# The devices of a server: of which console type each is, and where it listens; or, as a text, why
# it can't be used.
Devices = Sequence[tuple[str, Listening | str]]


def usable(devices: Devices, console_type: str, server: str) -> Listening:
    """Return where the first usable console of this type listens.

    Raises:
        NoSuchConsole: there is none; its text says what is wrong with those that are there.
    """
    reasons = []
    for kind, device in devices:
        if kind == console_type and isinstance(device, Listening):
            return device
        if kind == console_type:
            reasons.append(str(device))
    nothing = f"Server {server} has no console of type {console_type}."
    raise NoSuchConsole(nothing, f"{nothing} {'; '.join(reasons)}".rstrip())


def dialled(listening: Listening, console_type: str, server: str, way: Way) -> Console:
    """Return what the gateway dials.

    Args:
        listening: where the console is.
        console_type: its type.
        server: its server's name.
        way: to its host.

    Raises:
        NoSuchConsole: no way leads there.
    """
    host, port = listening.address, listening.port
    if listening.socket is not None:
        _need_local(way, server, console_type, f"the UNIX socket {listening.socket}")
        host, port = listening.socket, 0
    elif is_wildcard(host):
        host = "::1" if host == "::" and way.address == "127.0.0.1" else way.address
    elif is_loopback(host):
        _need_local(way, server, console_type, host)
    return Console(
        console_type,
        host,
        port,
        tls_port=listening.tls_port,
        websocket_port=listening.websocket_port,
        credentials=listening.credentials,
    )


def is_wildcard(address: str) -> bool:
    """Return whether this stands for every address of a host."""
    return address in ("", "*", "0.0.0.0", "::")  # noqa: S104


def is_loopback(host: str) -> bool:
    """Return whether only the host itself can reach this name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith("localhost.")


def _need_local(way: Way, server: str, console_type: str, where: str) -> None:
    if not way.local:
        raise NoSuchConsole(
            f"The console of server {server} can't be reached.",
            f"the {console_type} console of {server} is on {where} of {way.address} only, which "
            "the gateway can't reach; let it listen on an address of that host",
        )
