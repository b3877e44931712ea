"""The token-validating resource: takes every WebSocket upgrade, on whatever path.

Everything is decided here, before Autobahn sees the connection. What only an attacker or a broken
client meets is refused in HTTP. What an honest user meets gets its WebSocket, and is told in RFB
why there is no console, because that is all that a stock noVNC shows.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from typing_extensions import override

from vncproxy.errors import GatewayError
from vncproxy.interfaces import Leg
from vncproxy.model import Ending, SessionFacts, new_request_id
from vncproxy.registry import Registry
from vncproxy.session import Session, SessionPolicy
from vncproxy.web.answers import json_answer, refusal
from vncproxy.web.forwarding import client_certificate
from vncproxy.web.gate import Gate
from vncproxy.web.handover import hand_over
from vncproxy.web.request import check_handshake
from vncproxy.web.websocket import BrowserFactory

# Nobody meets these with a link that a gateway or nova has made.
REFUSED_IN_HTTP = frozenset({Ending.MALFORMED, Ending.NO_TOKEN, Ending.ORIGIN_REFUSED})


class DecidingResource(Resource):
    """Asks the gate about each request, without ever blocking or outliving its client.

    Args:
        gate: decides.
        policy: holds the clock, and the observer that is told of refusals.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, gate: Gate, policy: SessionPolicy) -> None:
        super().__init__()
        self._gate = gate
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
        gate: decides.
        policy: what all sessions share.
        registry: keeps the sessions.
        websockets: makes the browsers' protocols.
    """

    def __init__(
        self, gate: Gate, policy: SessionPolicy, registry: Registry, websockets: BrowserFactory
    ) -> None:
        super().__init__(gate, policy)
        self._registry = registry
        self._websockets = websockets

    @override
    async def _decide(self, request: Request, facts: SessionFacts) -> None:
        refusal: GatewayError | None = None
        try:
            check_handshake(request)
            facts.grant = await self._gate.admit(request, request.getHeader("origin"))
        except GatewayError as error:
            if error.ending in REFUSED_IN_HTTP:
                self._refuse(request, facts, error)
                return
            refusal = error
        hand_over(request, self._websockets.protocol_for(self._starter(facts, refusal)))

    def _starter(self, facts: SessionFacts, refusal: GatewayError | None) -> Callable[[Leg], None]:
        session = Session(self._policy, facts, refusal)
        return lambda browser: self._registry.start(session, browser)


class Verdict(DecidingResource):
    """Says in JSON what an upgrade with the same URL would meet, up to the target's door."""

    @override
    async def _decide(self, request: Request, facts: SessionFacts) -> None:
        # A browser sends no Origin with a plain request to the page's own host; our page names it.
        origin = request.getHeader("origin") or request.getHeader("x-console-origin")
        try:
            grant = await self._gate.admit(request, origin)
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
