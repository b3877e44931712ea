"""Telling systemd how the service is (sd_notify(3)): ready, reloading, stopping, alive."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from typing_extensions import override


class Supervisor:
    """Sends messages to the supervisor's socket, where there is one.

    Args:
        environment: the process's; systemd puts the socket's path into NOTIFY_SOCKET, and the
            watchdog's interval into WATCHDOG_USEC.
        pid: of this process.
    """

    _log = Logger()

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is in Linux's abstract namespace.
        self._path = "\0" + path[1:] if path.startswith("@") else path
        microseconds = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        self.watchdog_s = int(microseconds) / 1e6 if microseconds.isdigit() and ours else 0.0

    @property
    def listens(self) -> bool:
        """Whether there is one."""
        return bool(self._path)

    def tell(self, *assignments: str) -> None:
        """Send ``VARIABLE=value`` lines, as in sd_notify(3)."""
        if not self._path:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(1.0)
                channel.sendto("\n".join(assignments).encode(), self._path)
        except OSError as error:
            self._log.warn("systemd can't be told anything: {error}", error=error)

    def reloading(self) -> None:
        """Say that a reload has begun; ``READY=1`` ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


class Notices(Service):
    """Says when the gateway is ready, that it lives, and when it begins to stop.

    Args:
        supervisor: who is told.
        reactor: calls back once everything listens, and runs the watchdog's clock.
        longest_stop_s: returns for how many seconds a stop may take; so long it shall not kill.
        status: one line for ``systemctl status``.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        reactor: IReactorTime,
        longest_stop_s: Callable[[], float],
        status: Callable[[], str],
    ) -> None:
        self._supervisor = supervisor
        self._reactor = reactor
        self._longest_stop_s = longest_stop_s
        self._status = status
        self._beat = LoopingCall(self._say_alive)
        self._beat.clock = reactor

    @override
    def startService(self) -> None:
        super().startService()
        if self._supervisor.listens:
            self._reactor.callLater(0, self._supervisor.tell, "READY=1", self._status_line())
            self._beat.start((self._supervisor.watchdog_s or 20.0) / 2, now=False)

    def _say_alive(self) -> None:
        alive = ["WATCHDOG=1"] if self._supervisor.watchdog_s else []
        self._supervisor.tell(*alive, self._status_line())

    def _status_line(self) -> str:
        return f"STATUS={self._status()}"

    @override
    def stopService(self) -> None:
        super().stopService()
        self._supervisor.tell(
            "STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(self._longest_stop_s() * 1e6)}"
        )


def supervisor_of_this_process() -> Supervisor:
    """Return the supervisor of the running process."""
    return Supervisor(os.environ, os.getpid())
