"""One console session: dial, open, splice, and the one ending.

Whatever ends a session goes through ``Session.end``; the first one to call it names the ending.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vncproxy.errors import ANSWERS, GatewayError, NegotiationTimeout, SessionExpired
from vncproxy.interfaces import Leg, SessionObserver, Tap
from vncproxy.measures import NO_MEASURES, Measures, Phase
from vncproxy.model import Ending, Grant, SessionFacts
from vncproxy.opening import Opener, Opening
from vncproxy.splice.portable import Splice
from vncproxy.target import Dialer

T = TypeVar("T")

_REFUSAL_S = 5.0  # for a client to hear in its protocol why it gets no console
_CLOSE_S = 10.0  # for both peers to take what was written, and to close
# When the client has gone: for a connection to the server that is there to be noticed, and for the
# handshake on it to come to its end. One that the server has not taken yet is nothing to it.
_NOTICE_S = 0.2
_CONCLUDE_S = 5.0


def endless(_grant: Grant) -> float | None:
    """Let a console stay open for as long as both sides want."""
    return None


def untapped(_facts: SessionFacts) -> Tap | None:
    """Let nobody see the streams."""
    return None


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """What every session of a listener has in common.

    Attributes:
        clock: runs the time-outs.
        dialer: connects to the servers of consoles.
        opener: what lies between a WebSocket's opening and the splice.
        negotiation_timeout_s: seconds from the WebSocket's opening to the handshakes' end.
        observer: is told of every session's edges.
        splice: makes a session's splice of its two legs.
        tap: returns what is to see a session's streams, or None.
        lifetime_s: seconds that a console may stay open once it is; None for no such limit.
        measures: is told how long the steps of an opening took.
    """

    clock: IReactorTime
    dialer: Dialer
    opener: Opener
    negotiation_timeout_s: float
    observer: SessionObserver
    splice: Callable[[Leg, Leg, SessionFacts, Tap | None], Splice] = Splice
    tap: Callable[[SessionFacts], Tap | None] = untapped
    lifetime_s: Callable[[Grant], float | None] = endless
    measures: Measures = NO_MEASURES


class Session:
    """A browser's console, from its open WebSocket to its end line in the log.

    Args:
        policy: what all sessions share.
        facts: what is known of this one; kept up to date here.
        refusal: why the user gets no console, or None; told in RFB where the console speaks
            that, so that noVNC shows it, and always in the Close.
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
        self._opening: Opening | None = None
        self._interruptible: Deferred[None] | None = None  # the opening, while it goes on
        self._opened: Deferred[Leg] | None = None  # its part with the server, which may go on
        self._over: Deferred[None] | None = None  # fires at the end of what was opened
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
        elif self._over is not None:
            self._over.callback(None)

    def fail(self, error: GatewayError) -> None:
        """End the session for this fault."""
        self.end(error.ending, str(error), error.words)

    def abort(self) -> None:
        """Drop whatever connection of the session is still open."""
        if self._opened is not None:
            self._opened.cancel()
        for leg, gone in self._gone.items():
            if not gone.called:
                leg.abort()

    async def _serve(self, browser: Leg) -> None:
        self._watch(browser)
        self._opening = self._policy.opener(browser, self.fail)
        if self._refusal is not None:
            self.fail(self._refusal)
            self._policy.observer.refused(self.facts)
        else:
            assert self.facts.grant is not None  # noqa: S101  the gate has admitted it
            try:
                self._policy.observer.started(self.facts)
            except GatewayError as error:
                self.fail(error)
            if self.facts.ending is None:
                await self._open_console(browser, self.facts.grant)
            if self.facts.ending is None:
                # Most of its life a session waits here. What is not needed for that is let go
                # of, and there is one coroutine: ten thousand sessions weigh what each holds.
                self._opening = None
                self._over = Deferred()
                lifetime = self._limit_lifetime(self.facts.grant)
                await self._over
                if lifetime is not None and lifetime.active():
                    lifetime.cancel()
        await self._say_why(browser)
        await self._close(browser)
        self.facts.seconds = self._policy.clock.seconds() - self.facts.started
        if self._refusal is None:
            self._policy.observer.ended(self.facts)

    async def _open_console(self, browser: Leg, grant: Grant) -> None:
        """Open the console and join the streams, unless a step fails or ``end`` is called."""
        self._interruptible = Deferred.fromCoroutine(self._join(browser, grant))
        try:
            await self._interruptible
        except CancelledError:
            pass  # by end()
        except GatewayError as error:
            self.fail(error)
        except Exception:  # whatever it is, this session alone must end of it
            self._log.failure("{request_id} met a fault", request_id=self.facts.request_id)
            self.end(Ending.INTERNAL, "see the traceback above")
        self._interruptible = None

    async def _join(self, browser: Leg, grant: Grant) -> None:
        assert self._opening is not None  # noqa: S101  set by _serve
        opening = self._opening
        self._opened = Deferred.fromCoroutine(self._open(opening, grant))
        timeout_s = self._policy.negotiation_timeout_s
        self._opened.addTimeout(timeout_s, self._policy.clock)
        try:
            server = await _result_of(self._opened)
        except TimeoutError as error:
            raise NegotiationTimeout(f"{opening.unfinished} in {timeout_s:g} s") from error
        finally:
            if self._opened.called:  # else it was end() that came first
                self._opened = None
        self._log.debug(
            "{request_id} agreed on {agreement}",
            request_id=self.facts.request_id,
            agreement=opening.agreement,
        )
        tap = self._policy.tap(self.facts)
        self._splice = self._policy.splice(browser, server, self.facts, tap)
        self._splice.start(*opening.rest())
        self._took("all", self.facts.started)

    def _limit_lifetime(self, grant: Grant) -> IDelayedCall | None:
        """Let the console end when its time is over, if it has one."""
        lifetime_s = self._policy.lifetime_s(grant)
        if lifetime_s is None:
            return None
        expired = SessionExpired(f"token {grant.token_id} expired at {grant.expires}")
        return self._policy.clock.callLater(max(0.0, lifetime_s), self.fail, expired)

    async def _open(self, opening: Opening, grant: Grant) -> Leg:
        begun = self._policy.clock.seconds()
        reached = await self._policy.dialer.dial(grant)
        connected = self._took("connect", begun)
        self._log.debug(
            "{request_id} reached {target}",
            request_id=self.facts.request_id,
            target=self.facts.target,
        )
        self._watch(reached.leg)
        agreed = opening.meet(reached.leg, reached.credentials, reached.secure)
        if reached.early:
            reached.leg.received(reached.early)
        await agreed
        if self.facts.ending is None:
            self._took("handshake", connected)
        return reached.leg

    def _took(self, phase: Phase, begun: float) -> float:
        """Tell how long a phase took that ends now; return the time."""
        now = self._policy.clock.seconds()
        self._policy.measures.took(phase, now - begun)
        return now

    async def _say_why(self, browser: Leg) -> None:
        """Tell a browser that still waits for its console why there will be none."""
        opening = self._opening
        if (
            opening is None
            or opening.client_served
            or self._gone[browser].called
            or not self._words
        ):
            return
        self._words = f"{self._words} ({self.facts.request_id})"
        heard = opening.refuse(self._words)
        heard.addTimeout(_REFUSAL_S, self._policy.clock)
        with suppress(TimeoutError):
            await heard

    async def _close(self, browser: Leg) -> None:
        """Close both ends, and return when both are gone; abort what does not go in time."""
        assert self.facts.ending is not None  # noqa: S101  that is why we are here
        if self._splice is not None:
            self._splice.stop()
        abort = self._policy.clock.callLater(_CLOSE_S, self.abort)
        self._close_legs([browser], self.facts.ending)
        await self._conclude()
        self._close_legs([leg for leg in self._gone if leg is not browser], self.facts.ending)
        for gone in list(self._gone.values()):
            await gone
        if abort.active():
            abort.cancel()

    async def _conclude(self) -> None:
        """Let the handshake with the server come to its end, if it still goes on."""
        if self._opened is None or self._opening is None:
            return
        if self._opening.conclude():
            self._opened.addTimeout(_CONCLUDE_S, self._policy.clock)
        else:
            self._opened.cancel()
        notice = self._policy.clock.callLater(_NOTICE_S, self._dial_no_further)
        try:
            await self._opened
        except (TimeoutError, CancelledError, GatewayError):
            pass  # the session has ended of something else
        except Exception:
            self._log.failure("{request_id} met a fault", request_id=self.facts.request_id)
        if notice.active():
            notice.cancel()

    def _dial_no_further(self) -> None:
        if self._opened is not None and len(self._gone) == 1:  # there is the browser's leg only
            self._opened.cancel()

    def _close_legs(self, legs: Sequence[Leg], ending: Ending) -> None:
        for leg in legs:
            if not self._gone[leg].called:
                leg.received = _discard
                leg.close(ending, self._words)

    def _watch(self, leg: Leg) -> None:
        self._gone[leg] = Deferred()
        leg.lost = lambda ending, detail: self._lost(leg, ending, detail)

    def _lost(self, leg: Leg, ending: Ending, detail: str) -> None:
        self._gone[leg].callback(None)
        error = self._opening.leg_lost(leg, detail) if self._opening else None
        if error is not None:
            self.fail(error)
        else:
            self.end(ending, detail)


def _result_of(work: Deferred[T]) -> Deferred[T]:
    """Return what fires like this Deferred, but can be cancelled without it.

    What it fails with afterwards stays on it.
    """
    result: Deferred[T] = Deferred()

    def succeeded(value: T) -> T:
        if not result.called:
            result.callback(value)
        return value

    def failed(failure: Failure) -> Failure | None:
        if result.called:
            return failure
        result.errback(failure)
        return None

    work.addCallbacks(succeeded, failed)
    return result


def _discard(_data: bytes) -> None:
    """Take bytes that nobody waits for any more."""
