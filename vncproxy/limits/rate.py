"""How often somebody may come: a token bucket each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from vncproxy.errors import ClientTooFast

MOST_CLIENTS = 10_000  # remembered at once; whoever comes from more addresses is no rate's to stop


class TokenBuckets:
    """A bucket for each key; those unused for longest are forgotten when there are too many.

    Args:
        rate: per second; 0 for no limit.
        burst: how many at once, after a time of silence; >= 1.
        seconds: a clock that never jumps.
    """

    def __init__(self, rate: float, burst: float, seconds: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._seconds = seconds
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable) -> float:
        """Take one, and return 0; or take none, and return the seconds until there is one."""
        if not self._rate:
            return 0.0
        level = self._level(key)
        wait_s = max(0.0, (1 - level) / self._rate)
        self._levels[key] = (level if wait_s else level - 1, self._seconds())
        self._levels.move_to_end(key)
        if len(self._levels) > MOST_CLIENTS:
            self._levels.popitem(last=False)
        return wait_s

    def _level(self, key: Hashable) -> float:
        now = self._seconds()
        level, at = self._levels.get(key, (self._burst, now))
        return min(self._burst, level + (now - at) * self._rate)


class Rate:
    """Lets each client come ``burst`` times at once, and ``per_s`` times a second after that.

    Args:
        per_s: 0 for no limit.
        burst: >= 1.
        now: seconds of a clock that never jumps.
    """

    def __init__(self, per_s: float, burst: int, now: Callable[[], float]) -> None:
        self._per_s = per_s
        self._buckets = TokenBuckets(per_s, burst, now)

    def arrive(self, client: str) -> None:
        """Count an arrival, or raise ``ClientTooFast``, which counts none."""
        wait_s = self._buckets.take(client)
        if wait_s:
            raise ClientTooFast(
                f"{client} asks for more than {self._per_s:g} consoles a second; "
                "see [vncproxy] connection_rate",
                retry_after_s=wait_s,
            )
