"""A reactor whose time never jumps.

Twisted's reactors count the seconds of the wall clock: when somebody sets it forward, every
time-out of every session is over at once, and when it is set back none is for as long.
"""

from __future__ import annotations

import time
from typing import Any


def keep_steady(reactor: Any) -> None:  # noqa: ANN401  any of Twisted's
    """Let the reactor's time be the monotonic clock; before anything is scheduled."""
    now, steady = reactor.seconds(), time.monotonic()
    for call in reactor.getDelayedCalls():
        call.seconds = time.monotonic
        call.time += steady - now
    reactor.seconds = time.monotonic
