"""The parent of the workers: starts and stops them, and speaks for all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.amp import Command
from typing_extensions import override

from vncproxy.model import Ending
from vncproxy.workers.commands import (
    REPORT_INTERVAL_S,
    EndSession,
    ListSessions,
    Metrics,
    State,
)
from vncproxy.workers.place import Launcher, Place


class Workers(Service):
    """All workers of this gateway.

    The first is started alone: if it can't follow its settings, none can, and one line in the log
    says why. The others follow when it serves.

    Args:
        reactor: runs the times.
        count: of workers.
        launcher: starts them.
        give_up: ends the gateway, when the first worker can't follow its settings.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401  all of its interfaces
        count: int,
        launcher: Launcher,
        give_up: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._give_up = give_up
        self._have_served = False
        self._intervals = LoopingCall(self._interval_over)
        self._intervals.clock = reactor
        self.places = [Place(number, reactor, launcher, self) for number in range(1, count + 1)]

    @override
    def startService(self) -> None:
        super().startService()
        self._reactor.callWhenRunning(self._start)

    def _start(self) -> None:
        if self.running:
            self._intervals.start(REPORT_INTERVAL_S, now=False)
            self.places[0].start()

    def _interval_over(self) -> None:
        for place in self.places:
            place.interval_over()

    @override
    def stopService(self) -> Deferred[None]:
        """Stop all workers at once; the Deferred fires when all have gone."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await gatherResults([place.stop() for place in self.places])
        if self._intervals.running:
            self._intervals.stop()

    def ready(self) -> None:
        """Start the other workers when the first one serves (see ``place.Watcher``)."""
        if not self._have_served:
            self._have_served = True
            for place in self.places[1:]:
                place.start()

    def unfit(self) -> None:
        """End the gateway, unless workers have served (see ``place.Watcher``)."""
        if not self._have_served:
            self._give_up()

    def fewest_beside(self, place: Place) -> int:
        """Return what the least loaded of the others has (see ``place.Watcher``)."""
        others = [it for it in self.places if it is not place and it.state is State.READY]
        return min((it.sessions for it in others), default=place.sessions)

    def signal(self, name: str) -> None:
        """Send every worker this signal, such as ``HUP``."""
        for place in self.places:
            place.signal(name)

    def hurry(self) -> None:
        """Let the workers' stop, begun or not, wait no longer."""
        self.signal("INT")

    def __len__(self) -> int:
        """Return how many sessions there are, by the last reports."""
        return sum(place.sessions for place in self.places)

    async def sessions(self) -> list[dict[str, object]]:
        """Return all live sessions, each as ``session_log.describe`` tells it and its worker."""
        found: list[dict[str, object]] = []
        for number, answer in await self._ask(ListSessions):
            found += [{**it, "worker": number} for it in json.loads(answer["sessions"])]
        return found

    async def end_session(self, request_id: str, ending: Ending, detail: str) -> bool:
        """End a session, wherever it lives; return whether there was one of this name."""
        answers = await self._ask(
            EndSession, request_id=request_id, ending=ending.value, detail=detail
        )
        return any(answer["found"] for _, answer in answers)

    async def metrics(self) -> dict[str, bytes]:
        """Return each worker's metrics in Prometheus' text form, by its number."""
        return {str(number): answer["exposition"] for number, answer in await self._ask(Metrics)}

    async def _ask(
        self, command: type[Command], **arguments: object
    ) -> list[tuple[int, dict[str, Any]]]:
        """Ask all at once; return number and answer of those that gave one."""
        answers = await gatherResults([place.ask(command, **arguments) for place in self.places])
        numbered = zip(self.places, answers, strict=True)
        return [(place.number, answer) for place, answer in numbered if answer is not None]
