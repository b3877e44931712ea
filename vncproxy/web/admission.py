"""Letting a request in: the limits around the gate, and the one use of some tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request

from vncproxy.interfaces import Limits
from vncproxy.limits.address import client_of
from vncproxy.model import Grant, Seat, SessionFacts
from vncproxy.tokens.sql import SqlTokenUses
from vncproxy.tokens.uses import Use
from vncproxy.web.gate import Gate
from vncproxy.web.request import came_by_tls
from vncproxy.web.resume import cookie_for, new_secret, secret_of

# Consoles that open several WebSockets for one session, with one token.
_WITH_CHANNELS = frozenset({"spice-html5"})


@dataclass(slots=True)
class _Held:
    """What a session gives back at its end."""

    grant: Grant
    secret: str | None = None


class Admission:
    """Decides on requests, and remembers what each session takes up.

    It is told of sessions' ends as an ``interfaces.SessionObserver``.

    Args:
        gate: decides on the request, its token and its machine.
        limits: what a client, a machine and a token may have.
        uses: of the tokens that may be used once.
        now: the current time in Unix seconds.
        framed: whether other sites' pages may frame consoles.
    """

    _log = Logger()

    def __init__(
        self,
        gate: Gate,
        limits: Limits,
        uses: SqlTokenUses,
        now: Callable[[], float],
        framed: bool,
    ) -> None:
        self._gate = gate
        self._limits = limits
        self._uses = uses
        self._now = now
        self._framed = framed
        self._held: dict[str, _Held] = {}

    async def judge(
        self, request: Request, facts: SessionFacts, origin_headers: Sequence[bytes]
    ) -> Grant:
        """Return what the request's token opens, and take nothing up by that.

        Raises:
            GatewayError: the request is refused; its class says why.
        """
        grant = await self._pass_gate(request, facts, origin_headers)
        await self._uses.check(grant, secret_of(request, grant))
        return grant

    async def admit(self, request: Request, facts: SessionFacts) -> bytes | None:
        """Let the request's session begin: give it a seat, and use its token.

        The grant is put into ``facts``. Whoever calls this calls ``ended`` later, also where no
        session came of it; or this raises, and nothing is taken up.

        Returns:
            A Set-Cookie header for the answer, or None.

        Raises:
            GatewayError: the request is refused; its class says why.
        """
        grant = await self._pass_gate(request, facts, (b"origin",))
        facts.grant = grant
        name = facts.request_id
        seat = Seat(
            client_of(facts.client),
            grant.instance_uuid,
            grant.token_hash,
            channel=grant.console_type in _WITH_CHANNELS,
        )
        self._held[name] = _Held(grant)
        try:
            await self._limits.take_seat(name, seat)
            return await self._use(request, facts, grant)
        except BaseException:  # a client that left while somebody answered, too
            self.ended(facts)
            raise

    async def _pass_gate(
        self, request: Request, facts: SessionFacts, origin_headers: Sequence[bytes]
    ) -> Grant:
        client = client_of(facts.client)
        await self._limits.arrive(client)
        return await self._gate.admit(request, origin_headers, self._limits, client)

    async def _use(self, request: Request, facts: SessionFacts, grant: Grant) -> bytes | None:
        known, fresh = secret_of(request, grant), new_secret()
        use = await self._uses.use(grant, facts.client, known, fresh)
        if use is Use.UNCOUNTED:
            return None
        secret = known if use is Use.RESUMED and known is not None else fresh
        self._held[facts.request_id].secret = secret
        lives_s = max(1, grant.expires - int(self._now()))
        return cookie_for(grant, secret, came_by_tls(request), self._framed, lives_s)

    def started(self, facts: SessionFacts) -> None:
        """Do nothing: the seat was taken before."""

    def refused(self, facts: SessionFacts) -> None:
        """Do nothing: a refused request has no seat."""

    def ended(self, facts: SessionFacts) -> None:
        """Take back what the session had; it may be called twice."""
        held = self._held.pop(facts.request_id, None)
        if held is None:
            return
        self._limits.leave_seat(facts.request_id)
        if held.secret is not None:
            noted = self._uses.ended(held.grant, held.secret)
            noted.addErrback(self._not_noted, held.grant.token_id)

    def _not_noted(self, failure: Failure, token_id: str) -> None:
        self._log.warn(
            "the end of token {token_id}'s session could not be noted: {error}",
            token_id=token_id,
            error=failure.getErrorMessage(),
        )
