"""What the process does on signals: drain, hurry, reload."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger
from typing_extensions import override


class Signals(Service):
    """SIGTERM stops the gateway, SIGINT at once; so does a second one. SIGHUP reloads.

    Args:
        reactor: whose own handlers of SIGTERM and SIGINT begin the stop.
        hurry: makes a stop, begun or not, take no longer than it must.
        reload: reads the configuration again.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401  all of its interfaces
        hurry: Callable[[], None],
        reload: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._hurry = hurry
        self._reload = reload
        self._stopping = False

    @override
    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        signal.signal(signal.SIGHUP, self._on_hangup)
        # The reactor sets its own handlers when it begins to run, and would replace ours.
        self._reactor.callWhenRunning(self._before_the_reactors)

    def _before_the_reactors(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            begin = signal.getsignal(number)
            if callable(begin):
                signal.signal(number, self._stop_handler(begin))

    def _stop_handler(
        self, begin: Callable[[int, FrameType | None], Any]
    ) -> Callable[[int, FrameType | None], None]:
        def on_signal(number: int, frame: FrameType | None) -> None:
            if self._stopping or number == signal.SIGINT:
                self._reactor.callFromThread(self._hurry)
            if not self._stopping:
                self._stopping = True
                begin(number, frame)

        return on_signal

    def _on_hangup(self, _number: int, _frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._reload_guarded)

    def _reload_guarded(self) -> None:
        try:
            self._reload()
        except Exception:  # whatever it is, the gateway goes on
            self._log.failure("the reload broke")
