"""A worker's side of the connection with its parent: reports, and answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.protocols.amp import Command
from typing_extensions import override

from vncproxy.model import Ending
from vncproxy.registry import Registry
from vncproxy.session_log import describe
from vncproxy.workers.commands import (
    REPORT_INTERVAL_S,
    EndSession,
    Link,
    ListSessions,
    Metrics,
    Report,
    State,
    Stop,
)

_MAY_LEAD_BY = 4


class Reporter(Service):
    """Tells the parent how this worker is, and does what the parent says.

    Without a parent there is no worker: when the connection is lost, it stops.

    Args:
        reactor: runs the connection and the interval.
        channel: this end of the connection; it is closed here.
        registry: knows the sessions.
        stop: ends the worker, as SIGTERM does.
        metrics: returns this process' metrics in Prometheus' text form.
    """

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401  all of its interfaces
        channel: socket.socket,
        registry: Registry,
        stop: Callable[[], None],
        metrics: Callable[[], bytes],
    ) -> None:
        self._reactor = reactor
        self._stop = stop
        self._channel = channel
        self._registry = registry
        self._link = WorkerEnd(self.stop, registry, metrics, reactor)
        self._state = State.STARTING
        self._told = self._fewest = 0
        self._intervals = LoopingCall(self._report)
        self._intervals.clock = reactor

    def ahead(self) -> bool:
        """Whether another worker has so many sessions less that it should have the next one."""
        if abs(len(self._registry) - self._told) >= _MAY_LEAD_BY:
            self._report()
        return len(self._registry) > self._fewest + _MAY_LEAD_BY

    def call(self, command: type[Command], **arguments: object) -> Any:  # noqa: ANN401  AMP's
        """Send the parent a command, as ``AMP.callRemote`` does."""
        return self._link.callRemote(command, **arguments)

    def enter(self, state: State) -> None:
        """Report a new state."""
        self._state = state
        self._report()

    def stop(self) -> None:
        """End the worker, unless it ends already."""
        if self._state is not State.DRAINING:
            self._stop()

    @override
    def startService(self) -> None:
        super().startService()
        with self._channel as channel:
            channel.setblocking(False)
            self._reactor.adoptStreamConnection(
                channel.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: self._link)
            )
        self._link.lost.addCallback(lambda _: self.stop())
        self._intervals.start(REPORT_INTERVAL_S)

    @override
    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._intervals.stop()
        self._link.close()
        return self._link.lost

    def _report(self) -> None:
        if self._link.transport is None:
            return
        self._told = len(self._registry)
        answered = self._link.callRemote(Report, state=self._state.value, sessions=self._told)
        answered.addCallbacks(self._learn, lambda _parent_gone: None)

    def _learn(self, answer: dict[str, int]) -> None:
        self._fewest = answer["fewest"]


class WorkerEnd(Link):
    """The worker's end of the connection with the parent (see ``Reporter``)."""

    def __init__(
        self,
        stop: Callable[[], None],
        registry: Registry,
        metrics: Callable[[], bytes],
        clock: IReactorTime,
    ) -> None:
        super().__init__()
        self._stop = stop
        self._registry = registry
        self._metrics = metrics
        self._clock = clock

    @Stop.responder
    def stop(self) -> dict[str, object]:
        """Follow ``Stop``."""
        self._stop()
        return {}

    @ListSessions.responder
    def list_sessions(self) -> dict[str, bytes]:
        """Answer ``ListSessions``."""
        now = self._clock.seconds()
        described = [describe(session.facts, now) for session in self._registry]
        return {"sessions": json.dumps(described).encode()}

    @EndSession.responder
    def end_session(self, request_id: str, ending: str, detail: str) -> dict[str, bool]:
        """Follow ``EndSession``."""
        found = [it for it in self._registry if it.facts.request_id == request_id]
        for session in found:
            session.end(Ending(ending), detail)
        return {"found": bool(found)}

    @Metrics.responder
    def metrics(self) -> dict[str, bytes]:
        """Answer ``Metrics``."""
        return {"exposition": self._metrics()}
