"""The gateway and whoever runs it: signals, and notices to systemd."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import Any, Protocol

from vncproxy.config.settings import Settings
from vncproxy.reload import Reload
from vncproxy.signals import Signals
from vncproxy.systemd import Notices, supervisor_of_this_process

_MARGIN_S = 15.0  # for all that a stop does besides waiting


class Hurried(Protocol):
    """What a stop waits for."""

    def hurry(self) -> None:
        """Let the stop, begun or not, wait no longer."""


def signals(
    reactor: Any,  # noqa: ANN401  all of its interfaces
    hurried: Sequence[Hurried],
    reload: Reload,
) -> Signals:
    """Return what follows signals; to be started before anything else.

    Args:
        reactor: whose stop the signals begin.
        hurried: what waits in a stop, and is told when there is no time.
        reload: what SIGHUP does.
    """
    supervisor = supervisor_of_this_process()

    def hurry() -> None:
        for waiting in hurried:
            waiting.hurry()

    def reload_and_say_so() -> None:
        supervisor.reloading()
        try:
            reload.run()
        finally:
            supervisor.tell("READY=1")

    return Signals(reactor, hurry, reload_and_say_so)


def notices(
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    consoles: Sized,
    drain_timeout_s: Callable[[], float],
) -> Notices:
    """Return what tells systemd how the gateway is; to be started last.

    Args:
        settings: tell how long a stop may take.
        reactor: runs the times.
        consoles: how many there are is the status.
        drain_timeout_s: returns the part of the stop that can change.
    """
    stopping = settings.stopping

    def longest_stop_s() -> float:
        return sum((stopping.drain_notice, drain_timeout_s(), stopping.stop_timeout, _MARGIN_S))

    def status() -> str:
        return f"{len(consoles)} consoles"

    return Notices(supervisor_of_this_process(), reactor, longest_stop_s, status)
