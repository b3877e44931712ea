"""One host of the driver ``libvirt``: its calls are made in threads, and may hang."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import TimeoutError
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.logger import Logger

from vncproxy.compute.interface import HostFault
from vncproxy.compute.libvirt_connection import LibvirtConnection
from vncproxy.compute.listening import Way
from vncproxy.compute.threads import BoundedThreads

T = TypeVar("T")

_MOST_THREADS = 4
_PAUSE_S = 30.0


class IReactor(IReactorTime, IReactorFromThreads):
    """What of the reactor a host needs."""


class LibvirtHost:
    """Asks one libvirt.

    A host that has not answered once is not waited for again: until it does answer, one look-up in
    thirty seconds tries it, and all others are told at once that it is silent.

    Args:
        name: of the host, for servers and faults.
        way: how the gateway reaches its consoles.
        connect: makes a connection, which is opened later.
        reactor: runs callbacks and time-outs.
        timeout_s: seconds, > 0, that an answer may take.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        way: Way,
        connect: Callable[[], LibvirtConnection],
        reactor: IReactor,
        timeout_s: float,
    ) -> None:
        self.name = name
        self.way = way
        self._connect = connect
        self._connection = connect()
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._threads = BoundedThreads(reactor, _MOST_THREADS, f"libvirt {name}")
        self._silent_since: float | None = None
        self._try_again_at = 0.0
        self._failing: str | None = None

    async def ask(self, question: Callable[[LibvirtConnection], T | HostFault]) -> T | HostFault:
        """Return the host's answer, or why there is none."""
        now = self._reactor.seconds()
        if self._silent_since is not None:
            if now < self._try_again_at:
                silence_s = now - self._silent_since
                return HostFault(self.name, f"it has not answered for {silence_s:.0f} s")
            self._try_again_at = now + _PAUSE_S
        connection = self._connection

        def asked() -> T | HostFault:
            try:
                return question(connection)
            finally:
                if connection is not self._connection:  # given up meanwhile
                    connection.close()
                self._reactor.callFromThread(self._heard)

        answering = self._threads.call(asked)
        answering.addTimeout(self._timeout_s, self._reactor)
        try:
            answer = await answering
        except TimeoutError:
            self._fall_silent(connection, now)
            answer = HostFault(self.name, f"it did not answer in {self._timeout_s:g} s")
        self._tell(answer)
        return answer

    def close(self) -> None:
        """Close the connection, without waiting for it."""
        self._threads.call(self._connection.close)

    def _fall_silent(self, connection: LibvirtConnection, asked_at: float) -> None:
        if self._silent_since is None:
            self._silent_since = asked_at
        self._try_again_at = self._reactor.seconds() + _PAUSE_S
        if connection is self._connection:
            self._connection = self._connect()  # the hanging thread closes the old

    def _heard(self) -> None:
        self._silent_since = None

    def _tell(self, answer: object) -> None:
        """Log when the host's libvirt begins to fail, and when it is well again."""
        reason = answer.reason if isinstance(answer, HostFault) else None
        if reason is not None and self._failing is None:
            self._log.warn("libvirt on {host} fails: {reason}", host=self.name, reason=reason)
        elif reason is None and self._failing is not None:
            self._log.info("libvirt on {host} answers again", host=self.name)
        self._failing = reason
