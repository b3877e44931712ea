"""What a compute driver knows of servers and their consoles, and how its look-ups fail.

A *server* is a virtual machine, in nova's word. A driver (``inventory``, ``libvirt``, ``qmp``) is
a ``ComputeDriver``; whoever asks it for a console gets a ``Console``, or a ``ComputeError`` of the
class that says why not.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vncproxy.model import Credentials

NOVNC = "novnc"
SPICE = "spice-html5"
SERIAL = "serial"
CONSOLE_TYPES = (NOVNC, SPICE, SERIAL)


class Status(enum.Enum):
    """A server's state, in nova's words."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    SUSPENDED = "SUSPENDED"
    SHUTOFF = "SHUTOFF"
    ERROR = "ERROR"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Server:
    """A virtual machine.

    Attributes:
        id: its UUID, lower-case and with dashes.
        name: by which its users know it; not always unique.
        status: whether it runs.
        host: that it runs on, as the operator knows it; for show, not for dialling.
        project: whose it is, or None where the driver does not know.
    """

    id: str
    name: str
    status: Status
    host: str
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Console:
    """Where a server's console is, as the gateway dials it.

    Attributes:
        console_type: one of ``CONSOLE_TYPES``.
        host: name or address, or the path of a UNIX socket.
        port: TCP port; 0 with a UNIX socket, or where the console speaks TLS only.
        tls_port: TCP port on which it speaks TLS from the first byte (SPICE), or None.
        websocket_port: of the VNC server's own WebSocket, or None; the gateway does not use it.
        path: of an HTTP CONNECT to make first (``internal_access_path``), or None.
        credentials: for the console's server, or None. Read when the console is looked up.
    """

    console_type: str
    host: str
    port: int
    tls_port: int | None = None
    websocket_port: int | None = None
    path: str | None = None
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class HostFault:
    """A host (or a file, or a socket) whose servers are not known now, and why.

    Attributes:
        host: as in ``Server.host``.
        reason: for the operator, one line; it holds no secret.
    """

    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The servers of all hosts that answered, by name; and the hosts that did not."""

    servers: tuple[Server, ...]
    faults: tuple[HostFault, ...] = ()


class ComputeError(Exception):
    """A look-up that gave no console; ``str()`` of it is for the operator only.

    Attributes:
        words: the same for the user who asked: they name no host.
    """

    def __init__(self, words: str, for_operator: str = "") -> None:
        super().__init__(for_operator or words)
        self.words = words


class ServerNotFound(ComputeError):
    """No host has a server of this name or UUID, and every host was asked."""


class ServerAmbiguous(ComputeError):
    """The name fits several servers.

    Attributes:
        ids: their UUIDs, in order.
    """

    def __init__(self, name: str, servers: Sequence[Server]) -> None:
        self.ids = tuple(sorted({server.id for server in servers}))
        hosts = ", ".join(sorted(f"{server.id} on {server.host}" for server in servers))
        super().__init__(
            f"Several servers are named {name}: {', '.join(self.ids)}. Ask for one by its id.",
            f"several servers are named {name}: {hosts}",
        )


class ServerNotRunning(ComputeError):
    """The server is there, but does not run, so it has no console."""


class NoSuchConsole(ComputeError):
    """The server runs, but has no console of this type, or none that the gateway can reach."""


class ConsoleTypeUnsupported(ComputeError):
    """No server has such a console here: the type is none of ``CONSOLE_TYPES``."""

    def __init__(self, console_type: str) -> None:
        super().__init__(f"Consoles of type {console_type!r} are not served here.")


class HostUnreachable(ComputeError):
    """What would know did not answer: nothing can be said of the server.

    Attributes:
        faults: which hosts, and why.
    """

    def __init__(self, server: str, faults: Sequence[HostFault]) -> None:
        self.faults = tuple(faults)
        reasons = "; ".join(f"{fault.host}: {fault.reason}" for fault in self.faults)
        super().__init__(
            f"Server {server} can't be looked up now. Try again in a minute.",
            f"{server} can't be looked up: {reasons}",
        )


class ComputeDriver(Protocol):
    """Finds servers and their consoles.

    Every method but ``stop`` is a coroutine, safe to cancel, and answers or fails within
    ``[vncproxy] compute_timeout``; none blocks the reactor.
    """

    async def list_servers(self) -> Listing:
        """Return every server. A host's failure is in the listing; nothing is raised."""

    async def find_servers(self, name_or_id: str) -> Listing:
        """Return the servers of this UUID (in any case), and those of exactly this name.

        A host's failure is in the listing; nothing is raised.
        """

    async def find_server(self, name_or_id: str) -> Server:
        """Return the server of this UUID, or else of this name: the one of ``find_servers``.

        Raises:
            ServerNotFound: there is none.
            ServerAmbiguous: several have the name.
            HostUnreachable: none was found, and not every host could be asked.
        """

    async def find_console(self, server: Server, console_type: str) -> Console:
        """Return where a console of the server is now.

        Args:
            server: as ``find_server`` or ``list_servers`` returned it; its id is what counts.
            console_type: such as those in ``CONSOLE_TYPES``.

        Raises:
            ServerNotFound: it is gone.
            ServerNotRunning: it does not run.
            NoSuchConsole: it has none of this type that the gateway can reach.
            ConsoleTypeUnsupported: no server has such.
            HostUnreachable: its host did not answer.
        """

    def stop(self) -> None:
        """Let go of connections and threads; look-ups that still run fail."""
