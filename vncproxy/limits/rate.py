"""How fast each client may come: a token bucket a client."""

from __future__ import annotations

from collections.abc import Callable

from vncproxy.errors import ClientTooFast

MOST_CLIENTS = 10_000  # remembered at once; whoever comes from more addresses is no rate's to stop


class Rate:
    """Lets each client come ``burst`` times at once, and ``per_s`` times a second after that.

    Args:
        per_s: 0 for no limit.
        burst: >= 1.
        now: seconds of a clock that never jumps.
    """

    def __init__(self, per_s: float, burst: int, now: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = burst
        self._now = now
        self._left: dict[str, tuple[float, float]] = {}  # arrivals left, and at which time

    def arrive(self, client: str) -> None:
        """Count an arrival, or raise ``ClientTooFast``, which counts none."""
        if not self._per_s:
            return
        now = self._now()
        left, then = self._left.pop(client, (float(self._burst), now))
        left = min(float(self._burst), left + (now - then) * self._per_s)
        allowed = left >= 1
        self._left[client] = (left - allowed, now)  # at the end: the first one is the oldest
        if len(self._left) > MOST_CLIENTS:
            del self._left[next(iter(self._left))]
        if not allowed:
            raise ClientTooFast(
                f"{client} asks for more than {self._per_s:g} consoles a second; "
                "see [vncproxy] connection_rate",
                retry_after_s=(1 - left) / self._per_s,
            )
