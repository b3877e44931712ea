"""A session's life without a network: each step, each fault, and the one ending."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import MemoryLeg, RecordingObserver, grant_for
from vncproxy.errors import AuditUnavailable, GatewayError, TargetRefused, TokenExpired
from vncproxy.interfaces import Leg
from vncproxy.model import Ending, Grant, SessionFacts, Token
from vncproxy.opening import Opener
from vncproxy.registry import Registry
from vncproxy.rfb.messages import reason_message
from vncproxy.rfb.negotiator import Negotiator
from vncproxy.session import Session, SessionPolicy
from vncproxy.target import Dialer, Reached

_VERSION = b"RFB 003.008\n"


def opener_of_rfb(*auth_schemes: str) -> Opener:
    """Return what opens VNC consoles whose servers may have this security."""
    return partial(Negotiator, auth_schemes=auth_schemes)


class FakeDialer:
    """Dials when the test says so."""

    def __init__(self) -> None:
        self.dialed: list[Deferred[Leg]] = []
        self.securing: list[Deferred[None]] = []

    async def dial(self, grant: Grant) -> Reached:
        self.dialed.append(Deferred())
        return Reached(await self.dialed[-1], b"", None, self.secure)

    def secure(self, _demand: object) -> Deferred[None]:
        self.securing.append(Deferred())
        return self.securing[-1]


class SessionTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.observer = RecordingObserver()
        self.dialer = FakeDialer()
        self.policy = SessionPolicy(
            self.clock, cast(Dialer, self.dialer), opener_of_rfb("none"), 15.0, self.observer
        )
        self.browser, self.server = MemoryLeg(), MemoryLeg()

    def start(self, refusal: GatewayError | None = None) -> Deferred[None]:
        grant = None if refusal else grant_for(Token("t"))
        facts = SessionFacts("req-1", "192.0.2.1", 0.0, grant)
        self.session = Session(self.policy, facts, refusal)
        return self.session.start(self.browser)

    def connect(self) -> None:
        self.dialer.dialed[0].callback(self.server)

    def open(self) -> Deferred[None]:
        """Bring a session to where the two sides talk to each other."""
        done = self.start()
        self.connect()
        self.server.received(_VERSION + b"\1\1" + bytes(4))
        self.browser.received(_VERSION + b"\1")
        self.assertEqual(self.browser.take(), _VERSION + b"\1\1" + bytes(4))
        self.assertEqual(self.server.take(), _VERSION + b"\1")
        return done

    def lose(self, leg: MemoryLeg, ending: Ending = Ending.CLIENT_LOST) -> None:
        leg.lost(ending, "")


class OpeningTests(SessionTestCase):
    def test_the_client_is_greeted_at_once(self) -> None:
        """The browser hears our version before the target has been reached."""
        self.start()
        self.assertEqual(self.browser.written, _VERSION)
        self.assertEqual(self.observer.events, ["started"])

    def test_the_streams_are_joined(self) -> None:
        """After the handshakes bytes pass, those behind the handshakes first."""
        self.start()
        self.connect()
        self.server.received(_VERSION + b"\1\1" + bytes(4) + b"early picture")
        self.browser.received(_VERSION + b"\1" + b"early key")
        self.assertTrue(self.browser.written.endswith(b"early picture"))
        self.assertTrue(self.server.written.endswith(b"early key"))
        self.browser.received(b"!")
        self.assertTrue(self.server.written.endswith(b"early key!"))

    def test_an_observer_objects(self) -> None:
        """Where the start must be recorded and can't be, no console is opened, nor dialled."""

        class Objecting(RecordingObserver):
            def started(self, facts: SessionFacts) -> None:
                super().started(facts)
                raise AuditUnavailable("the disk is full")

        self.observer = Objecting()
        self.policy = replace(self.policy, observer=self.observer)
        done = self.start()
        self.browser.received(_VERSION)
        self.assertEqual(self.dialer.dialed, [])
        self.assertIn(b"can't record sessions now", self.browser.written)
        self.assertEqual(self.browser.closed_with, Ending.AUDIT_UNAVAILABLE)
        self.lose(self.browser)
        self.successResultOf(done)
        self.assertEqual(self.observer.events, ["started", "ended audit-unavailable"])

    def test_the_target_refuses(self) -> None:
        """The client reads why, with the request id, and then the close code."""
        done = self.start()
        self.browser.received(_VERSION)
        self.dialer.dialed[0].errback(TargetRefused("host 192.0.2.7 refused"))
        words = "The machine's console cannot be reached. Is the machine running? (req-1)"
        self.assertEqual(self.browser.written, _VERSION + b"\0" + reason_message(words))
        self.assertEqual(self.browser.closed_with, Ending.TARGET_REFUSED)
        self.assertNoResult(done)
        self.lose(self.browser)
        self.successResultOf(done)
        self.assertEqual(self.observer.events, ["started", "ended target-refused"])

    def test_a_client_that_never_hears_its_refusal(self) -> None:
        """A client that sends no version is waited for, but not for ever."""
        self.start()
        self.dialer.dialed[0].errback(TargetRefused("refused"))
        self.clock.advance(4.9)
        self.assertIsNone(self.browser.closed_with)
        self.clock.advance(0.2)
        self.assertEqual(self.browser.closed_with, Ending.TARGET_REFUSED)

    def test_a_server_that_says_too_much(self) -> None:
        """While its client hears that there will be no console it is read no further."""
        for said in (b"endless banners\n" * 10, _VERSION + bytes(300_000)):
            self.browser, self.server = MemoryLeg(), MemoryLeg()
            self.start()
            self.dialer.dialed.pop().callback(self.server)
            self.assertFalse(self.server.paused)
            self.server.received(said)
            self.assertTrue(self.server.paused, said[:20])
            self.browser.received(_VERSION)
            self.assertIsNotNone(self.server.closed_with)

    def test_the_client_leaves_while_the_target_is_dialled(self) -> None:
        """The attempt to connect is given up with it, unless it was just about to succeed."""
        done = self.start()
        self.lose(self.browser)
        self.clock.advance(0.1)
        self.assertFalse(self.dialer.dialed[0].called)
        self.clock.advance(0.2)
        self.assertTrue(self.dialer.dialed[0].called)
        self.successResultOf(done)
        self.assertEqual(self.observer.events, ["started", "ended client-lost"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_client_leaves_before_the_server_has_let_us_in(self) -> None:
        """The server, which would count it as a failed guess, hears the handshake's end first."""
        says = [_VERSION, b"\1\1", bytes(4)]
        for heard in range(len(says)):
            self.setUp()
            done = self.start()
            if heard:
                self.connect()
                self.server.received(says[0])
            if heard == 2:
                self.server.received(says[1])
            self.lose(self.browser)
            self.assertIsNone(self.server.closed_with)
            if not heard:
                self.connect()
            for piece in says[heard:]:
                self.assertIsNone(self.server.closed_with)
                self.server.received(piece)
            self.assertEqual(self.server.written, _VERSION + b"\1")
            self.assertEqual(self.server.closed_with, Ending.CLIENT_LOST)
            self.lose(self.server, Ending.SERVER_CLOSED)
            self.successResultOf(done)
            self.assertEqual(self.observer.events, ["started", "ended client-lost"])
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_server_does_not_let_in_whom_nobody_waits_for(self) -> None:
        """Its silence is not waited for long; its refusal, loss or babble not at all."""
        for fault in (
            lambda: self.clock.advance(5.1),
            lambda: self.server.received(_VERSION + b"\0" + reason_message("no")),
            lambda: self.server.received(b"SSH-2.0-OpenSSH"),
            lambda: self.lose(self.server, Ending.SERVER_LOST),
        ):
            self.setUp()
            done = self.start()
            self.connect()
            self.lose(self.browser)
            self.assertNoResult(done)
            fault()
            self.assertEqual(self.observer.facts and self.observer.facts.ending, Ending.CLIENT_LOST)
            if not self.server.closed_with:
                self.successResultOf(done)  # it was lost
            else:
                self.lose(self.server)
            self.successResultOf(done)
            self.assertEqual(self.observer.events, ["started", "ended client-lost"])
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_another_end_before_the_server_has_let_us_in(self) -> None:
        """The client is told at once, and the server is left in order all the same."""
        self.start()
        self.connect()
        self.browser.received(_VERSION)
        self.session.end(Ending.GATEWAY_STOPPING)
        self.assertIn(b"being restarted", self.browser.written)
        self.assertEqual(self.browser.closed_with, Ending.GATEWAY_STOPPING)
        self.assertIsNone(self.server.closed_with)
        self.assertFalse(self.server.paused)
        self.server.received(_VERSION + b"\1\1" + bytes(4))
        self.assertEqual(self.server.written, _VERSION + b"\1")
        self.assertEqual(self.server.closed_with, Ending.GATEWAY_STOPPING)

    def test_a_fault_of_ours_that_nobody_waits_for(self) -> None:
        """An unforeseen error is logged also where the client has left."""
        done = self.start()
        self.lose(self.browser)
        self.dialer.dialed[0].errback(ZeroDivisionError("of ours"))
        self.successResultOf(done)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_client_that_chooses_too_early_and_wrong(self) -> None:
        """A wrong security type that came before the server was ready ends it as the client's."""
        self.start()
        self.browser.received(_VERSION + b"\2")
        self.connect()
        self.server.received(_VERSION + b"\1\1" + bytes(4))
        self.assertEqual(self.browser.closed_with, Ending.CLIENT_NOT_RFB)
        self.assertEqual(self.server.closed_with, Ending.CLIENT_NOT_RFB)
        self.assertIn(b"Only the security type 1", self.browser.written)

    def test_a_fault_of_ours_while_tls_starts(self) -> None:
        """An unforeseen error there ends the session too."""
        self.policy = replace(self.policy, opener=opener_of_rfb("x509none"))
        self.start()
        self.connect()
        self.browser.received(_VERSION)
        self.server.received(_VERSION + b"\1\x13" + b"\0\2" + b"\0")
        self.server.received(b"\1\0\0\1\4" + b"\1")
        self.dialer.securing[0].errback(ZeroDivisionError())
        self.assertEqual(self.browser.closed_with, Ending.INTERNAL)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_negotiation_takes_too_long(self) -> None:
        """The time-out counts from the start, and closes both sides."""
        self.start()
        self.browser.received(_VERSION)
        self.clock.advance(10)
        self.connect()
        self.clock.advance(4.9)
        self.assertIsNone(self.server.closed_with)
        self.clock.advance(0.2)
        self.assertEqual(self.browser.closed_with, Ending.NEGOTIATION_TIMEOUT)
        self.assertEqual(self.server.closed_with, Ending.NEGOTIATION_TIMEOUT)
        self.assertIn("the console's server did not finish", self.session.facts.detail)

    def test_a_fault_of_ours(self) -> None:
        """An unforeseen error ends this session as internal, and is logged with its traceback."""
        self.start()
        self.browser.received(_VERSION)
        self.dialer.dialed[0].errback(ZeroDivisionError("of ours"))
        self.assertEqual(self.browser.closed_with, Ending.INTERNAL)
        self.assertNotIn(b"of ours", self.browser.written)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_turned_away(self) -> None:
        """A user whose token has expired hears it in RFB; nothing is dialled."""
        done = self.start(TokenExpired("expired"))
        self.browser.received(_VERSION)
        self.assertIn(b"has expired. Open the console again. (req-1)", self.browser.written)
        self.assertEqual(self.browser.closed_with, Ending.TOKEN_EXPIRED)
        self.assertEqual(self.dialer.dialed, [])
        self.lose(self.browser)
        self.successResultOf(done)
        self.assertEqual(self.observer.events, ["refused token-expired"])


class VersionMatrixTests(SessionTestCase):
    """Clients of each version with servers of each version."""

    def run_pair(self, server: bytes, client: bytes, server_says: bytes) -> bytes:
        """Return what the client hears of such a pair."""
        self.setUp()
        self.start()
        self.connect()
        self.browser.received(b"RFB " + client + b"\n")
        self.server.received(b"RFB " + server + b"\n" + server_says)
        if client != b"003.003":
            self.browser.received(b"\1")
        self.assertEqual(self.server.written[:12], b"RFB " + server + b"\n")
        return self.browser.written

    def test_let_in(self) -> None:
        """The SecurityResult is there exactly where the client's version has one."""
        servers = {b"003.003": b"\0\0\0\1", b"003.007": b"\1\1", b"003.008": b"\1\1" + bytes(4)}
        heard = {b"003.003": b"\0\0\0\1", b"003.007": b"\1\1", b"003.008": b"\1\1" + bytes(4)}
        for (server, says), (client, hears) in product(servers.items(), heard.items()):
            self.assertEqual(self.run_pair(server, client, says), _VERSION + hears)

    def test_turned_away(self) -> None:
        """The reason is there in every version, in the form that the client's version has."""
        reason = reason_message("secret host")
        servers = {
            b"003.003": bytes(4) + reason,
            b"003.007": b"\0" + reason,
            b"003.008": b"\1\1" + b"\0\0\0\1" + reason,
        }
        misfit = "The gateway and the machine's console could not agree on how to connect. (req-1)"
        heard = {b"003.003": bytes(4), b"003.007": b"\0", b"003.008": b"\0"}
        for (server, says), (client, hears) in product(servers.items(), heard.items()):
            answer = self.run_pair(server, client, says)
            self.assertEqual(answer, _VERSION + hears + reason_message(misfit))
            self.assertEqual(self.session.facts.ending, Ending.TARGET_SECURITY)
            self.assertIn("secret host", self.session.facts.detail)


class EndingTests(SessionTestCase):
    def test_the_server_closes(self) -> None:
        """The browser is told, and the session has ended when it has gone too."""
        done = self.open()
        self.lose(self.server, Ending.SERVER_CLOSED)
        self.assertEqual(self.browser.closed_with, Ending.SERVER_CLOSED)
        self.assertNoResult(done)
        self.clock.advance(3)
        self.lose(self.browser)
        self.successResultOf(done)
        self.assertEqual(self.observer.events, ["started", "ended server-closed"])
        assert self.observer.facts is not None
        self.assertEqual(self.observer.facts.seconds, 3.0)

    def test_the_client_closes(self) -> None:
        """The server is closed, and what it still sends goes nowhere."""
        done = self.open()
        self.lose(self.browser, Ending.CLIENT_CLOSED)
        self.assertEqual(self.server.closed_with, Ending.CLIENT_CLOSED)
        self.server.received(b"late picture")
        self.lose(self.server, Ending.SERVER_CLOSED)
        self.successResultOf(done)
        self.assertEqual(self.observer.events, ["started", "ended client-closed"])

    def test_a_peer_that_does_not_go(self) -> None:
        """A peer that does not close in time is dropped."""
        self.open()
        self.lose(self.browser, Ending.CLIENT_CLOSED)
        self.clock.advance(9.9)
        self.assertFalse(self.server.aborted)
        self.clock.advance(0.2)
        self.assertTrue(self.server.aborted)

    def test_no_timers_are_left(self) -> None:
        """A session that has ended leaves nothing in the reactor."""
        self.open()
        self.lose(self.server)
        self.lose(self.browser)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_first_ending_counts(self) -> None:
        """Whatever follows is a consequence."""
        self.open()
        self.session.end(Ending.GATEWAY_STOPPING)
        self.session.end(Ending.INTERNAL, "not this")
        self.lose(self.browser)
        self.lose(self.server)
        self.assertEqual(self.session.facts.ending, Ending.GATEWAY_STOPPING)
        self.assertEqual(self.session.facts.detail, "")


class AnyOrderTests(SessionTestCase):
    """Whatever happens in whatever order, a session ends once, and leaves nothing behind."""

    actions = st.lists(
        st.one_of(
            st.tuples(
                st.just("client"), st.sampled_from([_VERSION, b"\1", b"\2", b"x", b"\1\1key"])
            ),
            st.tuples(
                st.just("server"),
                st.sampled_from(
                    [_VERSION, b"\1\1", bytes(4), b"\0\0\0\1", b"\1\2", b"\0\0\0\0\2no", b"pic"]
                ),
            ),
            st.tuples(st.sampled_from(["dial", "refuse", "lose client", "lose server", "stop"])),
            st.tuples(st.just("wait"), st.sampled_from([1, 6, 20])),
        ),
        max_size=14,
    )

    @settings(max_examples=500)
    @given(actions, st.sampled_from(["turned away", "opening", "open"]))
    def test_it(self, actions: list[tuple[object, ...]], beginning: str) -> None:
        """Played out to the end: one ending, both legs gone, no timer left, nothing raised."""
        self.setUp()
        if beginning == "open":
            done = self.open()
        else:
            done = self.start(TokenExpired("expired") if beginning == "turned away" else None)
        lost: set[str] = set()
        for action in [*actions, ("lose client",), ("lose server",), ("wait", 30)]:
            self.act(action, lost)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(done)
        endings = [event for event in self.observer.events if event != "started"]
        self.assertEqual(len(endings), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def act(self, action: tuple[object, ...], lost: set[str]) -> None:
        dialing = self.dialer.dialed[0] if self.dialer.dialed else None
        connected = dialing is not None and dialing.called and hasattr(self.server, "received")
        match action:
            case ("client", bytes(data)) if "client" not in lost:
                self.browser.received(data)
            case ("server", bytes(data)) if connected and "server" not in lost:
                self.server.received(data)
            case ("dial",) if dialing is not None and not dialing.called:
                dialing.callback(self.server)
            case ("refuse",) if dialing is not None and not dialing.called:
                dialing.errback(TargetRefused("refused"))
            case ("lose client",) if "client" not in lost:
                lost.add("client")
                self.browser.lost(Ending.CLIENT_LOST, "")
            case ("lose server",) if connected and "server" not in lost:
                lost.add("server")
                self.server.lost(Ending.SERVER_LOST, "reset")
            case ("stop",):
                self.session.end(Ending.GATEWAY_STOPPING)
            case ("wait", int(seconds)):
                self.clock.advance(seconds)


class RegistryTests(SessionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.registry = Registry(self.clock, 3.0)

    def begin(self) -> None:
        facts = SessionFacts("req-1", "192.0.2.1", 0.0, grant_for(Token("t")))
        self.registry.start(Session(self.policy, facts), self.browser)

    def leave(self) -> None:
        """Lose the browser, and have the attempt to reach the server fail."""
        self.lose(self.browser)
        self.dialer.dialed[0].errback(TargetRefused("refused"))

    def test_sessions_are_known_while_they_live(self) -> None:
        """A session that has ended is forgotten."""
        self.begin()
        self.assertEqual(len(self.registry), 1)
        self.leave()
        self.assertEqual(len(self.registry), 0)

    def test_stop_without_sessions(self) -> None:
        """There is nothing to wait for."""
        self.successResultOf(self.registry.stopService())

    def test_stop_closes_every_session(self) -> None:
        """Browsers are told that the gateway stops, and the stop waits until they are gone."""
        self.begin()
        self.browser.received(_VERSION)
        stopping = self.registry.stopService()
        self.assertEqual(self.browser.closed_with, Ending.GATEWAY_STOPPING)
        self.assertIn(b"being restarted", self.browser.written)
        self.assertNoResult(stopping)
        self.leave()
        self.successResultOf(stopping)

    def test_a_session_that_comes_too_late(self) -> None:
        """A connection that was open before the stop gets no console any more."""
        self.successResultOf(self.registry.stopService())
        self.begin()
        self.assertEqual(
            self.observer.facts and self.observer.facts.ending, Ending.GATEWAY_STOPPING
        )

    def test_stop_does_not_wait_for_ever(self) -> None:
        """A browser that does not answer the close is dropped."""
        self.begin()
        self.browser.received(_VERSION)
        stopping = self.registry.stopService()
        self.clock.advance(3.1)
        self.successResultOf(stopping)
        self.assertTrue(self.browser.aborted)

    def draining(self) -> Deferred[None]:
        """Stop with an open session and a minute for it."""
        self.registry = Registry(self.clock, 3.0, 60.0)
        self.begin()
        self.browser.received(_VERSION)
        return self.registry.stopService()

    def test_a_drain(self) -> None:
        """Sessions go on until they end; then the stop is done at once."""
        stopping = self.draining()
        self.clock.advance(14.0)
        self.assertIsNone(self.browser.closed_with)
        self.assertNoResult(stopping)
        self.leave()
        self.successResultOf(stopping)

    def test_a_drain_takes_no_new_ones(self) -> None:
        """A connection that was open before the stop, and asks in the drain, gets no console."""
        self.draining()
        old, self.browser = self.browser, MemoryLeg()
        self.begin()
        self.browser.received(_VERSION)
        self.assertEqual(self.browser.closed_with, Ending.GATEWAY_STOPPING)
        self.assertEqual(len(self.dialer.dialed), 2)  # and that was given up
        self.assertIsNone(old.closed_with)

    def test_a_drain_that_is_over(self) -> None:
        """What lives longer than the drain is told that the gateway stops."""
        self.policy = replace(self.policy, negotiation_timeout_s=1000.0)
        stopping = self.draining()
        self.clock.advance(59.9)
        self.assertIsNone(self.browser.closed_with)
        self.clock.advance(0.2)
        self.assertEqual(self.browser.closed_with, Ending.GATEWAY_STOPPING)
        self.assertNoResult(stopping)
        self.leave()
        self.successResultOf(stopping)

    def test_hurry(self) -> None:
        """A second signal ends the drain, a third one the wait for the browsers' answer."""
        stopping = self.draining()
        self.registry.hurry()
        self.assertEqual(self.browser.closed_with, Ending.GATEWAY_STOPPING)
        self.assertNoResult(stopping)
        self.registry.hurry()
        self.successResultOf(stopping)
        self.assertTrue(self.browser.aborted)

    def test_hurry_from_the_start(self) -> None:
        """Ctrl-C drains nothing."""
        self.registry = Registry(self.clock, 3.0, 60.0)
        self.begin()
        self.browser.received(_VERSION)
        self.registry.hurry()
        self.registry.stopService()
        self.assertEqual(self.browser.closed_with, Ending.GATEWAY_STOPPING)
