"""Ending the consoles whose tokens were deleted while they run.

Nova deletes the tokens of a server when it is deleted, or has moved to another host. It also
deletes every token that has expired, and nothing tells such a row from the others once it is gone;
so a console is judged by its token only until shortly before that expires.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from typing_extensions import override

from vncproxy.errors import StoreUnavailable
from vncproxy.interfaces import TokenRegister
from vncproxy.model import Ending
from vncproxy.session import Session

_CLOCKS_DIFFER_S = 60  # at most; a host whose clock is ahead purges the tokens that much early


class RevocationCheck(Service):
    """Asks at an interval which tokens of the running consoles are still there.

    Args:
        sessions: the live ones, each time it is iterated over.
        tokens: knows the tokens.
        interval_s: seconds between two questions, > 0.
        clock: runs the interval.
        now: the current time in Unix seconds.
    """

    _log = Logger()

    def __init__(
        self,
        sessions: Iterable[Session],
        tokens: TokenRegister,
        interval_s: float,
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._interval_s = interval_s
        self._now = now
        self._blind = False
        self._rounds = LoopingCall(lambda: Deferred.fromCoroutine(self._check()))
        self._rounds.clock = clock

    @override
    def startService(self) -> None:
        super().startService()
        self._rounds.start(self._interval_s, now=False)

    @override
    def stopService(self) -> None:
        super().stopService()
        if self._rounds.running:
            self._rounds.stop()

    async def _check(self) -> None:
        by_token = self._judged()
        if not by_token:
            return
        try:
            standing = await self._tokens.standing(list(by_token))
        except StoreUnavailable as error:
            if not self._blind:
                self._log.warn("revoked tokens are not noticed now: {error}", error=error)
            self._blind = True
            return
        except Exception:  # the next round may do better
            self._log.failure("revoked tokens could not be looked for")
            return
        self._blind = False
        for token_hash in by_token.keys() - standing:
            for session in by_token[token_hash]:
                session.end(Ending.TOKEN_REVOKED, f"token {session.facts.token_id} was deleted")

    def _judged(self) -> dict[str, list[Session]]:
        """Return the consoles whose tokens' absence would mean something, by token."""
        latest = self._now() + _CLOCKS_DIFFER_S
        found: dict[str, list[Session]] = {}
        for session in self._sessions:
            grant = session.facts.grant
            lives = session.facts.ending is None
            if grant is not None and lives and grant.expires > latest:
                found.setdefault(grant.token_hash, []).append(session)
        return found
