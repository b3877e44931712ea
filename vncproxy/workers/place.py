"""The place of one worker, which another takes when it dies."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.protocols.amp import Command
from twisted.python.failure import Failure

from vncproxy.workers.back_off import BackOff
from vncproxy.workers.commands import REPORT_INTERVAL_S, Link, State, Stop

UNFIT = 78  # exit status of a worker that can't follow its settings: EX_CONFIG of sysexits.h

_SERVED_WELL_REPORTS = 5  # some ten seconds of service
_LONGEST_SILENCE = 30  # intervals without a report, a minute; counted, because clocks jump
_ANSWER_S = 5.0


class Process(Protocol):
    """A worker's process (see ``launch.WorkerProcess``)."""

    link: Link
    pid: int

    def signal(self, name: str) -> None:
        """Send it this signal, such as ``KILL``."""


class Launcher(Protocol):
    """Starts workers (see ``launch.WorkerLauncher``)."""

    def launch(self, place: Place) -> Process:
        """Start a worker in this place, which is told of its reports and of its end."""


class Watcher(Protocol):
    """Who looks after all places (see ``parent.Workers``)."""

    def ready(self) -> None:
        """Learn that a worker serves."""

    def unfit(self) -> None:
        """Learn that a worker can't follow its settings."""

    def fewest_beside(self, place: Place) -> int:
        """Return how many sessions that one of the other workers has that has the fewest."""


class Place:
    """Keeps a worker running: starts it, and the next one when it has ended.

    Args:
        number: from 1.
        clock: runs the back-off.
        launcher: starts the workers.
        watcher: is told what concerns all of them.

    Attributes:
        state: of the worker that is here now.
        sessions: of that worker, by its last report.
    """

    _log = Logger()

    def __init__(
        self, number: int, clock: IReactorTime, launcher: Launcher, watcher: Watcher
    ) -> None:
        self.number = number
        self.state = State.GONE
        self.sessions = 0
        self._clock = clock
        self._launcher = launcher
        self._watcher = watcher
        self._back_off = BackOff()
        self._process: Process | None = None
        self._next: IDelayedCall | None = None
        self._emptied: Deferred[None] | None = None
        self._reports = 0
        self._silence = 0
        self._missed: dict[str, None] = {}  # signals for a worker that could not hear them yet

    @property
    def pid(self) -> int | None:
        """Process id of the worker that is here now."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start a worker here."""
        self._next = None
        self._reports = self._silence = 0
        self._missed.clear()
        self.state = State.STARTING
        try:
            self._process = self._launcher.launch(self)
        except OSError as error:
            self.ended(None, f"could not be started ({error.strerror})")

    def reported(self, state: State, sessions: int) -> int:
        """Take in the worker's report; return the fewest sessions that another worker has."""
        self._reports += 1
        self._silence = 0
        self.sessions = sessions
        if state is not self.state:
            self.state = state
            self._log.info(
                "worker {number}, process {pid}, is {state}",
                number=self.number,
                pid=self.pid,
                state=state.value,
            )
            self._catch_up()
            if state is State.READY:
                self._watcher.ready()
        return self._watcher.fewest_beside(self)

    def interval_over(self) -> None:
        """Count an interval without a report; kill a worker that has been silent too long."""
        self._silence += 1
        if self._process is not None and self._silence >= _LONGEST_SILENCE:
            self._log.error(
                "worker {number}, process {pid}, has hung for {seconds:g} s: it is killed",
                number=self.number,
                pid=self.pid,
                seconds=self._silence * REPORT_INTERVAL_S,
            )
            self._process.signal("KILL")

    def ended(self, status: int | None, how: str) -> None:
        """Learn that the worker's process has ended: with this status, or by a signal."""
        pid, sessions = self.pid, self.sessions
        # An operator may end a worker, so that a new one takes over: that is no failure.
        served_well = self._reports >= _SERVED_WELL_REPORTS or (
            status == 0 and self.state is not State.STARTING
        )
        self._process, self.state, self.sessions = None, State.GONE, 0
        if self._emptied is not None:
            self._emptied.callback(None)
            return
        delay_s = self._back_off.after(served_well)
        self._log.emit(
            LogLevel.info if status == 0 else LogLevel.error,
            "worker {number}, process {pid}, {how}; by its last report it had {sessions} "
            "sessions; the next one starts {when}",
            number=self.number,
            pid=pid or "-",
            how=how,
            sessions=sessions,
            when=f"in {delay_s:g} s" if delay_s else "now",
        )
        self._next = self._clock.callLater(delay_s, self.start)
        if status == UNFIT:
            self._watcher.unfit()

    def stop(self) -> Deferred[None]:
        """Start no other worker, and end this one; the Deferred fires when it has gone."""
        self._emptied = Deferred()
        if self._next is not None:
            self._next.cancel()
        if self._process is None:
            self._emptied.callback(None)
        else:
            self._process.link.callRemote(Stop).addErrback(lambda _gone_already: None)
        return self._emptied

    def signal(self, name: str) -> None:
        """Send the worker this signal, such as ``HUP``; to one that only starts, when it serves."""
        if self.state is State.STARTING:
            self._missed[name] = None
        elif self._process is not None:
            self._process.signal(name)

    def _catch_up(self) -> None:
        """Send the signals that came too early."""
        missed, self._missed = self._missed, {}
        for name in missed:
            self.signal(name)

    def ask(self, command: type[Command], **arguments: object) -> Deferred[dict[str, Any] | None]:
        """Ask the worker; None for an answer if it has none, or not in time."""
        if self._process is None or self.state is State.STARTING:
            return succeed(None)
        asked: Deferred[dict[str, Any]] = self._process.link.callRemote(command, **arguments)
        asked.addTimeout(_ANSWER_S, self._clock)
        return asked.addErrback(self._no_answer)

    def _no_answer(self, failure: Failure) -> None:
        self._log.warn(
            "worker {number} gave no answer: {reason}", number=self.number, reason=failure.value
        )
