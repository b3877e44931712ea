"""Workers without processes: the parent's side and the worker's side, and a wire between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from twisted.internet.task import Clock

from tests.helpers import grant_for
from tests.workers.links import Wires
from vncproxy.config.read import read_settings
from vncproxy.limits.build import node_limits
from vncproxy.limits.shared import LimitsKeeper
from vncproxy.model import Ending, SessionFacts, Token
from vncproxy.registry import Registry
from vncproxy.workers.commands import Link, Report, State
from vncproxy.workers.launch import ParentEnd
from vncproxy.workers.place import Place
from vncproxy.workers.reporter import WorkerEnd

_SETTINGS = read_settings([], "vncproxy")


class RunningClock(Clock):
    """The clock of a reactor that runs."""

    def callWhenRunning(self, call: Callable[[], None]) -> None:
        """Call it now."""
        call()


@dataclass
class FakeSession:
    """A live session, as far as its worker's end of the wire knows it."""

    facts: SessionFacts
    ended: list[tuple[Ending, str]] = field(default_factory=list)

    def end(self, ending: Ending, detail: str) -> None:
        """Keep how it was ended."""
        self.ended.append((ending, detail))


def session(request_id: str) -> FakeSession:
    """Return a session of this name."""
    return FakeSession(SessionFacts(request_id, "192.0.2.1", 0.0, grant_for(Token("secret"))))


class FakeProcess:
    """A worker's process; what it says, and how it ends, is the test's to choose."""

    def __init__(self, place: Place, pid: int, clock: Clock) -> None:
        self.pid = pid
        self.signals: list[str] = []
        self.stopped = 0
        self.sessions: list[FakeSession] = []
        self.fewest = -1
        self._place = place
        self.link: Link = ParentEnd(
            place.reported, LimitsKeeper(node_limits(_SETTINGS, clock.seconds))
        )
        registry = cast(Registry, self.sessions)
        self._worker = WorkerEnd(self._stop, registry, lambda: b"metrics of %d" % pid, clock)
        self.wires = Wires(self.link, self._worker)

    def _stop(self) -> None:
        self.stopped += 1

    def signal(self, name: str) -> None:
        """Keep the signal."""
        self.signals.append(name)

    def says(self, state: State, sessions: int = 0) -> None:
        """Report."""

        def learn(answer: dict[str, int]) -> None:
            self.fewest = answer["fewest"]

        told = self._worker.callRemote(Report, state=state.value, sessions=sessions)
        told.addCallback(learn)
        self.wires.carry()

    def ends(self, status: int | None = None) -> None:
        """End with a status, or by a signal."""
        self._place.ended(status, "was killed by SIGKILL" if status is None else f"ended {status}")


class FakeLauncher:
    """Starts such processes.

    Attributes:
        started: all of them, in order.
    """

    def __init__(self, clock: Clock) -> None:
        self.started: list[FakeProcess] = []
        self._clock = clock
        self.fault: OSError | None = None

    def launch(self, place: Place) -> FakeProcess:
        """Start one."""
        if self.fault is not None:
            raise self.fault
        self.started.append(FakeProcess(place, 100 + len(self.started), self._clock))
        return self.started[-1]
