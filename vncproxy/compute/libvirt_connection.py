"""One host's libvirt: plain, blocking calls; ``LibvirtHost`` makes them in threads.

Nothing of libvirt leaves this module, not even in an error's traceback: libvirt's objects make a
remote call when Python frees them, which must not happen in the reactor's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from typing import TypeVar

import libvirt

from vncproxy.compute.interface import HostFault, Server, Status
from vncproxy.compute.lookup import canonical_id
from vncproxy.reason import reason_of

T = TypeVar("T")

# Where a connection is silent for 15 seconds libvirt gives it up, and the calls on it fail.
_KEEPALIVE_S = 5
_KEEPALIVE_COUNT = 3
# nova/virt/libvirt/guest.py has the same table, of power states.
_STATUSES = {
    libvirt.VIR_DOMAIN_RUNNING: Status.ACTIVE,
    libvirt.VIR_DOMAIN_BLOCKED: Status.ACTIVE,
    libvirt.VIR_DOMAIN_SHUTDOWN: Status.ACTIVE,  # it is still shutting down
    libvirt.VIR_DOMAIN_PAUSED: Status.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: Status.SUSPENDED,
    libvirt.VIR_DOMAIN_SHUTOFF: Status.SHUTOFF,
    libvirt.VIR_DOMAIN_CRASHED: Status.ERROR,
}


class LibvirtConnection:
    """The connection to one libvirt, opened when it is first needed, and again when it broke.

    Every method may be called in any thread, and may hang.

    Args:
        uri: of the libvirt, such as ``qemu+tls://kvm1/system``.
        host: its name, for servers and faults.
        read_passwords: whether to ask for domains' passwords, which needs a connection that is
            allowed to change domains; otherwise it is read-only.
        patience_s: seconds to wait for another thread that opens the connection.
    """

    def __init__(self, uri: str, host: str, read_passwords: bool, patience_s: float) -> None:
        self._uri = uri
        self._host = host
        self._read_passwords = read_passwords
        self._patience_s = patience_s
        self._opening = threading.Lock()
        self._open: libvirt.virConnect | None = None

    def servers(self) -> list[Server] | HostFault:
        """Return every domain, running or not."""
        return self._call(
            lambda connection: self._servers_of(connection.listAllDomains()),
        )

    def find(self, name_or_id: str) -> list[Server] | HostFault:
        """Return the domain of this UUID, and the one of this name."""
        wanted_id = canonical_id(name_or_id)

        def find(connection: libvirt.virConnect) -> list[Server]:
            found = []
            if wanted_id is not None:
                found.append(_or_none(connection.lookupByUUIDString, wanted_id))
            found.append(_or_none(connection.lookupByName, name_or_id))
            return self._servers_of(domain for domain in found if domain is not None)

        return self._call(find)

    def xml(self, server_id: str) -> str | HostFault | None:
        """Return a domain's XML, the live one if it runs; None where there is no such domain."""
        flags = libvirt.VIR_DOMAIN_XML_SECURE if self._read_passwords else 0

        def read(connection: libvirt.virConnect) -> str | None:
            domain = _or_none(connection.lookupByUUIDString, server_id)
            return None if domain is None else _or_none(domain.XMLDesc, flags)

        return self._call(read)

    def close(self) -> None:
        """Close the connection, if it is open."""
        with suppress(Exception):
            if self._open is not None:
                self._open.close()
        self._open = None

    def _call(self, ask: Callable[[libvirt.virConnect], T]) -> T | HostFault:
        """Return an answer; by a new connection, if the one that was there turns out to be dead."""
        answer = self._try(ask)
        connection = self._open
        if isinstance(answer, HostFault) and connection is not None and not _alive(connection):
            answer = self._try(ask)
        return answer

    def _try(self, ask: Callable[[libvirt.virConnect], T]) -> T | HostFault:
        if not self._opening.acquire(timeout=self._patience_s):
            return HostFault(self._host, "another look-up still waits for its connection")
        try:
            connection = self._opened()
        except Exception as error:
            return HostFault(self._host, _reason(error))
        finally:
            self._opening.release()
        try:
            return ask(connection)
        except Exception as error:
            return HostFault(self._host, _reason(error))

    def _opened(self) -> libvirt.virConnect:
        if self._open is None or not _alive(self._open):
            self._open = None
            _serve_events()
            open_it = libvirt.open if self._read_passwords else libvirt.openReadOnly
            self._open = open_it(self._uri)
            with suppress(Exception):  # the test driver has none
                self._open.setKeepAlive(_KEEPALIVE_S, _KEEPALIVE_COUNT)
        return self._open

    def _servers_of(self, domains: Iterable[libvirt.virDomain]) -> list[Server]:
        servers = []
        for domain in domains:
            state = _or_none(domain.state)
            if state is not None:
                status = _STATUSES.get(state[0], Status.UNKNOWN)
                servers.append(Server(domain.UUIDString(), domain.name(), status, self._host))
        return servers


@cache
def _serve_events() -> None:
    """Let libvirt notice broken connections, in a thread of its own; and keep its errors quiet."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    libvirt.virEventRegisterDefaultImpl()

    def serve() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=serve, name="libvirt events", daemon=True).start()


def _alive(connection: libvirt.virConnect) -> bool:
    try:
        return bool(connection.isAlive())
    except Exception:
        return False


def _or_none(call: Callable[..., T], *arguments: object) -> T | None:
    """Return what the call returns; None if the domain is not, or no longer, there."""
    try:
        return call(*arguments)
    except ValueError:  # a text that libvirt can't be given, such as one with a NUL
        return None
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _reason(error: Exception) -> str:
    if not isinstance(error, libvirt.libvirtError):  # of the binding's own, or of Python
        return reason_of(error)
    return " ".join((error.get_error_message() or str(error)).split())
