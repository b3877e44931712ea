"""Looking tokens up elsewhere: few at once, for a bounded time, and not for those who guess."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from vncproxy.console_api.callers import Authenticator, Caller, Presented
from vncproxy.console_api.faults import Fault
from vncproxy.errors import TooManyFailedTokens
from vncproxy.limits.failures import FailedTokens
from vncproxy.limits.rate import MOST_CLIENTS

T = TypeVar("T")

_MOST_UNDER_WAY = 200
_MOST_OF_ONE = 50


class TokenLookUps:
    """Finds whose a token is that nothing on this machine knows.

    A client that has shown bad tokens waits before its next one is looked up. Tokens that were good
    before are not held up by that: what else comes from the same address is not theirs. They are
    looked up each time all the same, since they may have been revoked.

    Args:
        methods: asked in this order; the first that knows the caller counts. Without any, every
            token is bad, and counted.
        failed: each client's bad tokens.
        clock: runs the deadline.
        timeout_s: seconds, > 0, that a look-up may take in all, with the wait for its turn.
    """

    def __init__(
        self,
        methods: Sequence[Authenticator],
        failed: FailedTokens,
        clock: IReactorTime,
        timeout_s: float,
    ) -> None:
        self._methods = tuple(methods)
        self._failed = failed
        self._clock = clock
        self._timeout_s = timeout_s
        self._under_way: Counter[str] = Counter()
        self._good: OrderedDict[str, None] = OrderedDict()

    @property
    def ask_anybody(self) -> bool:
        """Whether there is anybody to ask."""
        return bool(self._methods)

    async def caller_of(self, presented: Presented, token: str, client: str) -> Caller | None:
        """Return whose the token is, or None where it is nobody's.

        Args:
            presented: what the request brings.
            token: of that.
            client: who shows it (see ``limits.address``).

        Raises:
            Fault: 429 where the client has shown too many bad ones or has too many under way; 503
                where too many of all wait, or it can't be found out in time.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        key = f"token {digest}" if digest in self._good else client
        if self._under_way[key] >= _MOST_OF_ONE:
            raise Fault(429, "Too many tokens at once; try again in 1 s.", {"Retry-After": "1"})
        if self._under_way.total() >= _MOST_UNDER_WAY:
            raise _busy("Too many tokens wait to be looked up; try again.", 1)
        self._under_way[key] += 1
        try:
            caller = await self._in_turn(presented, key)
        except TooManyFailedTokens as error:
            wait_s = math.ceil(error.retry_after_s)
            words = f"Too many tokens that are nobody's; try again in {wait_s} s."
            raise Fault(429, words, {"Retry-After": str(wait_s)}) from error
        except TimeoutError as error:
            raise _busy("Your token can't be looked up now; try again in a minute.", 60) from error
        finally:
            self._under_way[key] -= 1
            self._under_way += Counter()  # forgets those at 0
        self._remember(digest, caller is not None)
        return caller

    async def _in_turn(self, presented: Presented, key: str) -> Caller | None:
        until = self._clock.seconds() + self._timeout_s
        await self._by(until, self._failed.begin(key))
        good: bool | None = None
        try:
            asking = Deferred.fromCoroutine(first_known(self._methods, presented))
            caller = await self._by(until, asking)
            good = caller is not None
            return caller
        except CancelledError:
            good = False  # the client left, which must not be a way to guess uncounted
            raise
        finally:
            self._failed.end(key, good)

    def _by(self, until: float, answer: Deferred[T]) -> Deferred[T]:
        return answer.addTimeout(max(0.0, until - self._clock.seconds()), self._clock)

    def _remember(self, digest: str, good: bool) -> None:
        self._good.pop(digest, None)
        if good:
            self._good[digest] = None
            if len(self._good) > MOST_CLIENTS:
                self._good.popitem(last=False)


async def first_known(methods: Sequence[Authenticator], presented: Presented) -> Caller | None:
    """Return the caller whom the first of the methods knows that knows them.

    Raises:
        Fault: 503 where none does, but one can't say now; or what a method refuses for good.
    """
    unsure: Fault | None = None
    for method in methods:
        try:
            caller = await method.caller_of(presented)
        except Fault as fault:
            if fault.status != 503:
                raise
            unsure = unsure or fault
        else:
            if caller is not None:
                return caller
    if unsure is not None:
        raise unsure
    return None


def _busy(words: str, wait_s: int) -> Fault:
    return Fault(503, words, {"Retry-After": str(wait_s)})
