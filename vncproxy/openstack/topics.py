"""Which of nova-compute's topics to ask each host on, by what was learnt of it."""

from __future__ import annotations

from collections.abc import Callable

_REMEMBERED_S = 600.0  # then the second topic is tried again: the compute may have been upgraded
_MOST_HOSTS = 10_000


class ComputeTopics:
    """Remembers for each host the topic that it answers on.

    Args:
        now: seconds of a clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._known: dict[str, tuple[str, float]] = {}

    def order(self, host: str, topics: tuple[str, ...]) -> tuple[str, ...]:
        """Return the topics, the one to try first in front."""
        topic, learnt = self._known.get(host, ("", 0.0))
        if topic not in topics or self._now() - learnt > _REMEMBERED_S:
            return topics
        return (topic, *(other for other in topics if other != topic))

    def answered(self, host: str, topic: str) -> None:
        """Learn that the host answered on this topic."""
        if len(self._known) >= _MOST_HOSTS:
            self._known.clear()
        self._known[host] = (topic, self._now())

    def silent(self, host: str, topic: str, topics: tuple[str, ...]) -> None:
        """Learn that a question on this topic found no answer: the next one tries another.

        A compute that was downgraded leaves the queue of its second topic behind, which still
        takes questions.
        """
        self.answered(host, next((other for other in topics if other != topic), topic))
