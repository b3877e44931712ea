"""Who shows bad tokens is soon asked to wait, each time twice as long."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, fail, succeed

from vncproxy.errors import TooManyFailedTokens
from vncproxy.limits.rate import MOST_CLIENTS

_LONGEST_WAIT_S = 300.0


@dataclass(slots=True)
class _Client:
    failures: int = 0
    blocked_until: float = 0.0
    last_failure: float = 0.0
    looking: int = 0
    waiting: deque[Deferred[None]] = field(default_factory=deque)


class FailedTokens:
    """Counts each client's bad tokens, and makes it wait after ``most`` of them.

    So that no more than ``most`` bad tokens reach the database, however many come at once, a
    client's look-ups beyond that number wait for the answers to those before. A good token forgives
    the bad ones, and so do five minutes without any.

    Args:
        most: bad tokens in a row; 0 for no limit.
        now: seconds of a clock that never jumps.
    """

    def __init__(self, most: int, now: Callable[[], float]) -> None:
        self._most = most
        self._now = now
        self._clients: dict[str, _Client] = {}

    def begin(self, client: str) -> Deferred[None]:
        """Fire when a token of this client's may be looked up; ``end`` must follow.

        The Deferred fails with ``TooManyFailedTokens``; it may be cancelled.
        """
        if not self._most:
            return succeed(None)
        known = self._clients.setdefault(client, _Client())
        if self._now() - known.last_failure > _LONGEST_WAIT_S:
            known.failures = 0
        if known.blocked_until > self._now():
            return fail(self._refusal(client, known))
        if known.looking < self._at_once(known):
            known.looking += 1
            return succeed(None)
        turn: Deferred[None] = Deferred(known.waiting.remove)
        known.waiting.append(turn)
        return turn

    def end(self, client: str, good: bool | None) -> None:
        """Learn whether the token was good, or bad; None: it could not be found out."""
        if not self._most:
            return
        known = self._clients.setdefault(client, _Client())
        known.looking = max(0, known.looking - 1)
        if good:
            known.failures = 0
        elif good is False:
            known.failures += 1
            known.last_failure = self._now()
            beyond = known.failures - self._most
            if beyond >= 0:
                wait_s = min(_LONGEST_WAIT_S, 2.0 ** min(beyond, 60))
                known.blocked_until = known.last_failure + wait_s
        self._let_in(client, known)
        self._forget(client, known)

    def _at_once(self, known: _Client) -> int:
        return max(1, self._most - known.failures)

    def _let_in(self, client: str, known: _Client) -> None:
        while known.waiting:
            if known.blocked_until > self._now():
                known.waiting.popleft().errback(self._refusal(client, known))
            elif known.looking < self._at_once(known):
                known.looking += 1
                known.waiting.popleft().callback(None)
            else:
                return

    def _forget(self, client: str, known: _Client) -> None:
        if not known.failures and not known.looking and not known.waiting:
            del self._clients[client]
        elif len(self._clients) > MOST_CLIENTS:
            for old, state in list(self._clients.items()):
                if not state.looking and not state.waiting:
                    del self._clients[old]
                    return

    def _refusal(self, client: str, known: _Client) -> TooManyFailedTokens:
        wait_s = known.blocked_until - self._now()
        return TooManyFailedTokens(
            f"{client} showed {known.failures} bad tokens, and is asked to wait {wait_s:.0f} s; "
            "see [vncproxy] failed_tokens",
            retry_after_s=wait_s,
        )
