"""Starting a worker: its process, what it inherits, and the connection with it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.python.failure import Failure
from typing_extensions import override

from vncproxy.config.read import CommandLine
from vncproxy.config.settings import Settings
from vncproxy.interfaces import Limits
from vncproxy.limits.shared import LimitsKeeper
from vncproxy.workers.assignment import ASSIGNMENT, CHANNEL, FIRST_LISTENER, Assignment
from vncproxy.workers.commands import Link, Report, State
from vncproxy.workers.place import Place
from vncproxy.workers.sockets import HeldOpen

# systemd's, and for the process that it has started alone.
_NOT_FOR_WORKERS = {
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
}


def _environment() -> dict[str, str]:
    kept = {name: it for name, it in os.environ.items() if name not in _NOT_FOR_WORKERS}
    # twistd has added to the path; a worker imports what its parent does.
    return {**kept, "PYTHONPATH": os.pathsep.join(sys.path)}


class WorkerLauncher:
    """Starts workers that are all alike but for their numbers.

    Args:
        reactor: runs the processes.
        settings: for all of them, also for those that start much later.
        command_line: of this process.
        listeners: description and socket of each; open by the time of a launch.
        limits: counted here for all workers.

    Attributes:
        reloaded: whether workers that start now shall read the configuration again.
    """

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401  all of its interfaces
        settings: Settings,
        command_line: CommandLine,
        listeners: Sequence[tuple[str, HeldOpen]],
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._reactor = reactor
        self._settings = settings
        self._command_line = command_line
        self.reloaded = False
        self._listeners = listeners

    def launch(self, place: Place) -> WorkerProcess:
        """Start a worker in this place, which is told what becomes of it."""
        assignment = Assignment(
            place.number,
            self._settings,
            self._command_line,
            self.reloaded,
            type(self._reactor).__module__,
            tuple(description for description, _ in self._listeners),
        )
        process = WorkerProcess(place, LimitsKeeper(self._limits))
        with ExitStack() as after:  # closes this process's copies of what the worker inherits
            ours, theirs = (after.enter_context(end) for end in socket.socketpair())
            ours.setblocking(False)
            self._reactor.adoptStreamConnection(
                ours.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: process.link)
            )
            descriptor = assignment.write()
            after.callback(os.close, descriptor)
            sockets = [held.descriptor for _, held in self._listeners]
            inherited = [0, 1, 2, theirs.fileno(), descriptor, *sockets]
            assert (CHANNEL, ASSIGNMENT, FIRST_LISTENER) == (3, 4, 5)  # noqa: S101
            self._reactor.spawnProcess(
                process,
                sys.executable,
                [sys.executable, "-m", "vncproxy.workers.child", str(place.number)],
                env=_environment(),
                childFDs=dict(enumerate(inherited)),
            )
        return process


class WorkerProcess(ProcessProtocol):
    """A worker's process as its parent sees it.

    Args:
        place: is told what becomes of it.
        keeper: answers what it asks about limits.

    Attributes:
        link: the connection with it.
        pid: its process id.
    """

    pid: int

    def __init__(self, place: Place, keeper: LimitsKeeper) -> None:
        self._place = place
        self._keeper = keeper
        self.link: Link = ParentEnd(place.reported, keeper)

    transport: IProcessTransport

    @override
    def connectionMade(self) -> None:
        self.pid = self.transport.pid  # which the transport forgets when the process has ended

    def signal(self, name: str) -> None:
        """Send it this signal, such as ``KILL``."""
        self.transport.signalProcess(name)

    @override
    def processEnded(self, reason: Failure) -> None:
        self.link.close()
        self._keeper.worker_gone()
        status, by_signal = reason.value.exitCode, reason.value.signal  # type: ignore[union-attr]
        if by_signal is not None:
            self._place.ended(None, f"was killed by {signal.Signals(by_signal).name}")
        else:
            self._place.ended(status, f"ended with status {status}")


class ParentEnd(Link):
    """The parent's end of the connection with a worker."""

    def __init__(self, reported: Callable[[State, int], int], keeper: LimitsKeeper) -> None:
        super().__init__()
        self._reported = reported
        self._keeper = keeper

    @override
    def locateResponder(self, name: bytes) -> Any:
        return super().locateResponder(name) or self._keeper.locateResponder(name)

    @Report.responder
    def report(self, state: str, sessions: int) -> dict[str, int]:
        """Answer ``Report``."""
        return {"fewest": self._reported(State(state), sessions)}
