"""How long a dead worker's place stays empty."""

from __future__ import annotations

_FIRST_S = 1.0
_LONGEST_S = 60.0


class BackOff:
    """Counts the ends that came too early; one that served well is replaced at once."""

    def __init__(self) -> None:
        self._next_s = _FIRST_S

    def after(self, served_well: bool) -> float:
        """Return the seconds to wait now that a worker has ended.

        Args:
            served_well: whether it had run long enough for its end not to be that of its start.
        """
        if served_well:
            self._next_s = _FIRST_S
            return 0.0
        delay_s = self._next_s
        self._next_s = min(2 * delay_s, _LONGEST_S)
        return delay_s
