"""One console session: dial, negotiate, splice, and the one ending.

Whatever ends a session goes through ``Session.end``; the first one to call it names the ending.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vncproxy.errors import ANSWERS, GatewayError, NegotiationTimeout
from vncproxy.interfaces import Leg, SessionObserver
from vncproxy.measures import NO_MEASURES, Measures, Phase
from vncproxy.model import Ending, SessionFacts
from vncproxy.rfb.handshake import ServerHandshake
from vncproxy.rfb.negotiator import Negotiator
from vncproxy.splice.portable import Splice
from vncproxy.target import Dialer

_REFUSAL_S = 5.0  # for a client to hear in RFB why it gets no console
_CLOSE_S = 10.0  # for both peers to take what was written, and to close


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """What every session of a listener has in common.

    Attributes:
        clock: runs the time-outs.
        dialer: connects to the servers of consoles.
        auth_schemes: RFB security accepted from servers, the most wanted first.
        negotiation_timeout_s: seconds from the WebSocket's opening to the handshakes' end.
        observer: is told of every session's edges.
        splice: makes a session's splice of its two legs.
        measures: is told how long the steps of an opening took.
    """

    clock: IReactorTime
    dialer: Dialer
    auth_schemes: Sequence[str]
    negotiation_timeout_s: float
    observer: SessionObserver
    splice: Callable[[Leg, Leg, SessionFacts], Splice] = Splice
    measures: Measures = NO_MEASURES


class Session:
    """A browser's console, from its open WebSocket to its end line in the log.

    Args:
        policy: what all sessions share.
        facts: what is known of this one; kept up to date here.
        refusal: why the user gets no console, or None; told in RFB, so that noVNC shows it.
    """

    _log = Logger()

    def __init__(
        self, policy: SessionPolicy, facts: SessionFacts, refusal: GatewayError | None = None
    ) -> None:
        self.facts = facts
        self._policy = policy
        self._refusal = refusal
        self._words = ""
        self._gone: dict[Leg, Deferred[None]] = {}
        self._negotiator: Negotiator | None = None
        self._interruptible: Deferred[None] | None = None
        self._splice: Splice | None = None

    @property
    def buffered_bytes(self) -> int:
        """How many of its bytes wait here for one of the peers."""
        return self._splice.buffered_bytes if self._splice else 0

    @property
    def refused(self) -> bool:
        """Whether it only says why there is no console."""
        return self._refusal is not None

    def start(self, browser: Leg) -> Deferred[None]:
        """Serve the browser; the Deferred fires when nothing of the session is left open."""
        return Deferred.fromCoroutine(self._serve(browser))

    def end(self, ending: Ending, detail: str = "", words: str | None = None) -> None:
        """End the session, unless it has ended: with these words, or the ending's own."""
        if self.facts.ending is not None:
            return
        self.facts.ending, self.facts.detail = ending, detail
        self._words = ANSWERS[ending].words if words is None else words
        if self._interruptible is not None:
            self._interruptible.cancel()

    def fail(self, error: GatewayError) -> None:
        """End the session for this fault."""
        self.end(error.ending, str(error), error.words)

    def abort(self) -> None:
        """Drop whatever connection of the session is still open."""
        for leg, gone in self._gone.items():
            if not gone.called:
                leg.abort()

    async def _serve(self, browser: Leg) -> None:
        self._watch(browser)
        self._negotiator = Negotiator(browser, self.fail)
        if self._refusal is not None:
            self.fail(self._refusal)
            self._policy.observer.refused(self.facts)
        else:
            self._policy.observer.started(self.facts)
            await self._until_ended(browser, self._negotiator)
        await self._say_why(browser, self._negotiator)
        await self._close()
        self.facts.seconds = self._policy.clock.seconds() - self.facts.started
        if self._refusal is None:
            self._policy.observer.ended(self.facts)

    async def _until_ended(self, browser: Leg, negotiator: Negotiator) -> None:
        """Open the console and let it run, until ``end`` is called or a step fails."""
        self._interruptible = Deferred.fromCoroutine(self._open(browser, negotiator))
        try:
            await self._interruptible
        except CancelledError:
            pass  # by end()
        except GatewayError as error:
            self.fail(error)
        except Exception:  # whatever it is, this session alone must end of it
            self._log.failure("{request_id} met a fault", request_id=self.facts.request_id)
        self.end(Ending.INTERNAL, "see the traceback above")  # unless it has another cause

    async def _open(self, browser: Leg, negotiator: Negotiator) -> None:
        handshake = Deferred.fromCoroutine(self._negotiate(negotiator))
        timeout_s = self._policy.negotiation_timeout_s
        handshake.addTimeout(timeout_s, self._policy.clock)
        try:
            server = await handshake
        except TimeoutError as error:
            raise NegotiationTimeout(
                f"{negotiator.awaited} did not finish the RFB handshake in {timeout_s:g} s"
            ) from error
        self._log.debug(
            "{request_id} agreed on {agreement}",
            request_id=self.facts.request_id,
            agreement=negotiator.agreement,
        )
        self._splice = self._policy.splice(browser, server, self.facts)
        self._splice.start(*negotiator.rest())
        self._took("all", self.facts.started)
        await Deferred()  # until end() cancels it

    async def _negotiate(self, negotiator: Negotiator) -> Leg:
        assert self.facts.grant is not None  # noqa: S101  the gate has admitted it
        begun = self._policy.clock.seconds()
        reached = await self._policy.dialer.dial(self.facts.grant)
        connected = self._took("connect", begun)
        self._log.debug(
            "{request_id} reached {target}",
            request_id=self.facts.request_id,
            target=self.facts.target,
        )
        self._watch(reached.leg)
        handshake = ServerHandshake(self._policy.auth_schemes, reached.credentials)
        agreed = negotiator.meet(reached.leg, handshake, reached.secure)
        if reached.early:
            reached.leg.received(reached.early)
        await agreed
        self._took("handshake", connected)
        return reached.leg

    def _took(self, phase: Phase, begun: float) -> float:
        """Tell how long a phase took that ends now; return the time."""
        now = self._policy.clock.seconds()
        self._policy.measures.took(phase, now - begun)
        return now

    async def _say_why(self, browser: Leg, negotiator: Negotiator) -> None:
        """Tell a browser that still waits for its console why there will be none."""
        if negotiator.client_served or self._gone[browser].called or not self._words:
            return
        heard = negotiator.refuse(f"{self._words} ({self.facts.request_id})")
        heard.addTimeout(_REFUSAL_S, self._policy.clock)
        with suppress(TimeoutError):
            await heard

    async def _close(self) -> None:
        """Close both ends, and return when both are gone; abort what does not go in time."""
        assert self.facts.ending is not None  # noqa: S101  that is why we are here
        if self._splice is not None:
            self._splice.stop()
        remaining = [leg for leg, gone in self._gone.items() if not gone.called]
        for leg in remaining:
            leg.received = _discard
            leg.close(self.facts.ending)
        abort = self._policy.clock.callLater(_CLOSE_S, self.abort)
        for gone in list(self._gone.values()):
            await gone
        if abort.active():
            abort.cancel()

    def _watch(self, leg: Leg) -> None:
        self._gone[leg] = Deferred()
        leg.lost = lambda ending, detail: self._lost(leg, ending, detail)

    def _lost(self, leg: Leg, ending: Ending, detail: str) -> None:
        self._gone[leg].callback(None)
        error = self._negotiator.leg_lost(leg, detail) if self._negotiator else None
        if error is not None:
            self.fail(error)
        else:
            self.end(ending, detail)


def _discard(_data: bytes) -> None:
    """Take bytes that nobody waits for any more."""
