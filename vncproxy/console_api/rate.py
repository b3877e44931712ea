"""How often somebody may ask: a bucket of tokens each, refilled with time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

_MOST_KEPT = 10_000


class RateLimit:
    """Counts by key; the least recently seen are forgotten when there are too many.

    Args:
        rate: per second; 0 for no limit.
        burst: how many at once, after a time of silence.
        seconds: a clock.
    """

    def __init__(self, rate: float, burst: float, seconds: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._seconds = seconds
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: Hashable) -> float:
        """Return the seconds until ``take`` would succeed; 0 for now. Takes nothing."""
        if not self._rate:
            return 0.0
        return max(0.0, (1 - self._level(key)) / self._rate)

    def take(self, key: Hashable) -> None:
        """Count one; where there is none left, none is taken."""
        if not self._rate:
            return
        level = self._level(key)
        self._levels[key] = (level - 1 if level >= 1 else level, self._seconds())
        self._levels.move_to_end(key)
        if len(self._levels) > _MOST_KEPT:
            self._levels.popitem(last=False)

    def _level(self, key: Hashable) -> float:
        level, at = self._levels.get(key, (self._burst, 0.0))
        return min(self._burst, level + (self._seconds() - at) * self._rate)
