"""Whether a token's port is still its machine's console: asked of nova-compute.

Ports are used again. Without this question a token could open the console of another tenant's
machine, which was given the port when the first one was deleted or moved (nova's bug 1125378).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Lock

from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger
from typing_extensions import override

from vncproxy.errors import PortCheckUnavailable
from vncproxy.model import Grant
from vncproxy.openstack.bus import Bus, NoAnswer, NobodyListens, Question
from vncproxy.openstack.cells import Cell, Cells
from vncproxy.openstack.topics import ComputeTopics
from vncproxy.openstack.versions import (
    AUTO,
    Version,
    cap_of,
    cap_of_service,
    topics_for,
    version_sent,
)
from vncproxy.threads import BlockingCalls, FreeThreads, IReactor

_THREADS_PER_BUS = 30  # as many as oslo.messaging opens connections for at most
_MOST_PER_HOST = 10
_SPARE_S = 5.0  # on top of a compute's time, to reach the broker; then the caller is told
_CLOSE_S = 3.0
_CAP_KNOWN_S = 300.0


class _SharedBus:
    """A cell's message bus, its threads, and what was learnt of the computes on it."""

    def __init__(
        self,
        open_bus: Callable[[], Bus],
        reactor: IReactor,
        timeout_s: float,
    ) -> None:
        self.connection: Bus | None = None
        self._opening = Lock()
        self._open_bus = open_bus
        self._topics = ComputeTopics(reactor.seconds)
        self._threads = FreeThreads(0, _THREADS_PER_BUS, name="message bus")
        self._threads.start()
        self.calls = BlockingCalls(
            reactor, self._threads, timeout_s + _SPARE_S, "the message bus", PortCheckUnavailable
        )

    def open(self) -> Bus:
        """Return the connection, made at the first call."""
        with self._opening:
            if self.connection is None:
                self.connection = self._open_bus()
            return self.connection

    def ask(self, question: Question, cap: Version | None) -> None:
        """Ask the machine's compute, on whatever topic it listens; see ``Bus.ask``."""
        topics = topics_for(cap)
        host = question.instance.host
        for topic in self._topics.order(host, topics):
            try:
                self.open().ask(topic, version_sent(cap), question)
            except NobodyListens:
                continue
            except NoAnswer:
                self._topics.silent(host, topic, topics)
                raise
            self._topics.answered(host, topic)
            return
        raise PortCheckUnavailable(
            f"no nova-compute listens on the message bus for host {host}; is it down?"
        )


class PortCheck(Service):
    """Asks nova-compute about each grant (see ``interfaces.GrantCheck``).

    Args:
        cells: say which bus a grant's machine is on.
        reactor: runs the callbacks and the time-outs.
        open_bus: makes the connection to a bus, whose URL it is given.
        timeout_s: seconds that a compute may take to answer.
        level: ``[upgrade_levels] compute``, or None.
    """

    _log = Logger()

    def __init__(
        self,
        cells: Cells,
        reactor: IReactor,
        open_bus: Callable[[str], Bus],
        timeout_s: float,
        level: str | None,
    ) -> None:
        self._cells = cells
        self._reactor = reactor
        self._open_bus = open_bus
        self._timeout_s = timeout_s
        self._level = level
        self._buses: dict[str, _SharedBus] = {}
        self._asking: Counter[tuple[str, str]] = Counter()
        self._caps: dict[str, tuple[Version, float]] = {}

    def check(self, grant: Grant) -> Deferred[None]:
        """Fire when the port is still the machine's; see ``Bus.ask`` for what it fails with."""
        return Deferred.fromCoroutine(self._check(grant))

    async def _check(self, grant: Grant) -> None:
        cell = self._cells.named(grant.cell)
        if not cell.transport_url:
            raise PortCheckUnavailable("its cell has no transport_url, so no compute can be asked")
        instance = await cell.instance(grant.instance_uuid)
        question = Question(instance, grant.port, grant.console_type)
        cap = await self._cap(cell)
        bus = self._bus(cell.transport_url)
        host = (cell.name, instance.host)
        if self._asking[host] >= _MOST_PER_HOST:
            raise PortCheckUnavailable(
                f"{_MOST_PER_HOST} questions already wait for nova-compute on {instance.host}"
            )
        self._asking[host] += 1
        try:
            await bus.calls.run(lambda: bus.ask(question, cap))
        finally:
            self._asking -= Counter({host: 1})

    async def _cap(self, cell: Cell) -> Version | None:
        """Return the version cap of the cell's computes."""
        if not self._level:
            return None
        if self._level != AUTO:
            return cap_of(self._level)
        cap, learnt = self._caps.get(cell.name, (None, 0.0))
        if cap is not None and self._reactor.seconds() - learnt < _CAP_KNOWN_S:
            return cap
        oldest = await cell.oldest_compute()
        cap = cap_of_service(oldest)
        if oldest:
            self._caps[cell.name] = (cap, self._reactor.seconds())
        return cap

    def _bus(self, transport_url: str) -> _SharedBus:
        if transport_url not in self._buses:
            open_bus = partial(self._open_bus, transport_url)
            self._buses[transport_url] = _SharedBus(open_bus, self._reactor, self._timeout_s)
        return self._buses[transport_url]

    @override
    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        """Close the connections, as far as their brokers let us in time."""
        for bus in self._buses.values():
            if bus.connection is None:
                continue
            closing = bus.calls.run(bus.connection.close)
            closing.addTimeout(_CLOSE_S, self._reactor)
            try:
                await closing
            except (TimeoutError, PortCheckUnavailable):
                self._log.warn("a message bus did not let itself be closed")
