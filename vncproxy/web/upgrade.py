"""The token-validating resource: takes every WebSocket upgrade, on whatever path.

Everything is decided here, before Autobahn sees the connection. What only an attacker or a broken
client meets is refused in HTTP. What an honest user meets gets its WebSocket, and is told in RFB
why there is no console, because that is all that a stock noVNC shows.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from typing_extensions import override

from vncproxy.errors import GatewayCrowded, GatewayError
from vncproxy.model import Ending, SessionFacts, new_request_id
from vncproxy.registry import Registry
from vncproxy.session import Session, SessionPolicy
from vncproxy.web.admission import Admission
from vncproxy.web.answers import json_answer, refusal
from vncproxy.web.forwarding import client_certificate
from vncproxy.web.handover import hand_over
from vncproxy.web.request import check_handshake
from vncproxy.web.server import close_after
from vncproxy.web.websocket import BrowserFactory

# Nobody meets these with a link that a gateway or nova has made, or they must cost little.
REFUSED_IN_HTTP = frozenset(
    {
        Ending.MALFORMED,
        Ending.NO_TOKEN,
        Ending.ORIGIN_REFUSED,
        Ending.CLIENT_TOO_FAST,
        Ending.FAILED_TOKENS,
        Ending.GATEWAY_CROWDED,
    }
)

# A browser sends no Origin with a plain request to the page's own host; our page names it.
_ORIGINS = (b"origin", b"x-console-origin")


class DecidingResource(Resource):
    """Decides on each request, without ever blocking or outliving its client.

    Args:
        admission: decides.
        policy: holds the clock, and the observer that is told of refusals.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, admission: Admission, policy: SessionPolicy) -> None:
        super().__init__()
        self._admission = admission
        self._policy = policy

    @override
    def render(self, request: Request) -> int:
        address = request.getClientAddress()
        facts = SessionFacts(
            request_id=new_request_id(),
            client=getattr(address, "host", None) or "a local socket",
            started=self._policy.clock.seconds(),
            client_certificate=client_certificate(request),
        )
        deciding = Deferred.fromCoroutine(self._decide(request, facts))
        request.notifyFinish().addErrback(lambda _gone: deciding.cancel())
        deciding.addErrback(self._broke, request, facts)
        return NOT_DONE_YET

    async def _decide(self, request: Request, facts: SessionFacts) -> None:
        """Answer the request; finished by subclasses."""
        raise NotImplementedError

    def _refuse(self, request: Request, facts: SessionFacts, error: GatewayError) -> None:
        facts.ending, facts.detail = error.ending, str(error)
        self._policy.observer.refused(facts)
        close_after(request)
        request.write(refusal(request, error, facts.request_id))
        request.finish()

    def _broke(self, failure: Failure, request: Request, facts: SessionFacts) -> None:
        if failure.check(CancelledError):  # the client left; there is nobody to answer
            return
        self._log.failure("{request_id} could not be decided", failure, request_id=facts.request_id)
        self._refuse(request, facts, GatewayError("see the traceback above"))


class ConsoleUpgrade(DecidingResource):
    """Turns upgrade requests into sessions.

    Args:
        admission: decides.
        policy: what all sessions share.
        registry: keeps the sessions.
        websockets: makes the browsers' protocols.
        most_told: sessions at once that only say in words why there is no console; 0: any number.
    """

    def __init__(
        self,
        admission: Admission,
        policy: SessionPolicy,
        registry: Registry,
        websockets: BrowserFactory,
        most_told: int = 0,
    ) -> None:
        super().__init__(admission, policy)
        self._registry = registry
        self._websockets = websockets
        self._most_told = most_told

    @override
    async def _decide(self, request: Request, facts: SessionFacts) -> None:
        refusal: GatewayError | None = None
        cookie: bytes | None = None
        try:
            check_handshake(request)
            cookie = await self._admission.admit(request, facts)
        except GatewayError as error:
            refusal = self._cheaper(error)
            if refusal.ending in REFUSED_IN_HTTP:
                self._refuse(request, facts, refusal)
                return
        session = Session(self._policy, facts, _alone(refusal))
        protocol = self._websockets.protocol_for(
            lambda leg: self._registry.start(session, leg), session.refused
        )
        protocol.cookie = cookie
        hand_over(request, protocol)
        if session not in self._registry:  # it ended at once, or Autobahn saw what we did not
            self._admission.ended(facts)

    def _cheaper(self, error: GatewayError) -> GatewayError:
        """Return the refusal, or one in HTTP where too many hear theirs in words just now."""
        in_words = error.ending not in REFUSED_IN_HTTP
        if in_words and self._most_told and self._registry.refused >= self._most_told:
            return GatewayCrowded(f"{self._most_told} are hearing a refusal; this one: {error}")
        return error


class Verdict(DecidingResource):
    """Says in JSON what an upgrade with the same URL would meet, up to the target's door."""

    @override
    async def _decide(self, request: Request, facts: SessionFacts) -> None:
        try:
            grant = await self._admission.judge(request, facts, _ORIGINS)
        except GatewayError as error:
            self._refuse(request, facts, error)
            return
        body: dict[str, object] = {
            "code": "ok",
            "console_type": grant.console_type,
            "request_id": facts.request_id,
        }
        request.write(json_answer(request, 200, body))
        request.finish()


def _alone(error: GatewayError | None) -> GatewayError | None:
    """Return a refusal without what led to it.

    Its traceback holds the request, with headers of up to 64 KB, and it is told for seconds.
    """
    if error is not None:
        error.__traceback__ = error.__cause__ = error.__context__ = None
    return error
