"""Consoles without RFB: every byte passes, and the Close alone says why there is none."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from tests.helpers import grant_for
from tests.test_session import FakeDialer, SessionTestCase
from vncproxy.errors import TargetRefused, TokenExpired
from vncproxy.model import Ending, Grant, Token
from vncproxy.opening import RawOpening
from vncproxy.target import Reached


class RawTestCase(SessionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.policy = replace(self.policy, opener=RawOpening)

    def open(self) -> Deferred[None]:
        """Bring a session to where the two sides talk to each other."""
        done = self.start()
        self.connect()
        return done


class RawOpeningTests(RawTestCase):
    def test_nothing_is_said(self) -> None:
        """Neither side hears a byte that is not the other's."""
        self.open()
        self.assertEqual((self.browser.written, self.server.written), (b"", b""))
        self.server.received(b"login: ")
        self.browser.received(b"root\r")
        self.assertEqual((self.browser.written, self.server.written), (b"login: ", b"root\r"))
        self.assertEqual(self.session.facts.bytes_to_client, 7)
        self.assertEqual(self.session.facts.bytes_to_server, 5)

    def test_the_client_speaks_first(self) -> None:
        """As SPICE clients do: what they say before the server is reached is kept for it."""
        self.start()
        self.browser.received(b"RED")
        self.browser.received(b"Q")
        self.connect()
        self.browser.received(b"!")
        self.assertEqual(self.server.written, b"REDQ!")

    def test_a_flood_before_the_server_is_reached(self) -> None:
        """The client's reading is paused, and goes on when there is somebody to read it."""
        self.start()
        self.browser.received(bytes(65536))
        self.assertFalse(self.browser.paused)
        self.browser.received(b"x")
        self.assertTrue(self.browser.paused)
        self.connect()
        self.assertFalse(self.browser.paused)
        self.assertEqual(self.server.written, bytes(65536) + b"x")

    def test_bytes_behind_a_connect(self) -> None:
        """What came with the answer to a CONNECT is the stream's beginning."""

        class EarlyDialer(FakeDialer):
            async def dial(self, grant: Grant) -> Reached:
                return replace(await super().dial(grant), early=b"boot ")

        self.dialer = EarlyDialer()
        self.policy = replace(self.policy, dialer=self.dialer)  # type: ignore[arg-type]
        self.open()
        self.server.received(b"messages")
        self.assertEqual(self.browser.written, b"boot messages")

    @settings(max_examples=200)
    @given(
        st.lists(st.one_of(st.binary(min_size=1), st.none()), max_size=12),
        st.integers(0, 12),
    )
    def test_no_byte_is_lost(self, said: list[bytes | None], dialled_at: int) -> None:
        """Whenever the server is reached, it gets what the client said, in order; and back."""
        self.setUp()
        self.start()
        for turn, data in enumerate([*said, None]):
            if turn == min(dialled_at, len(said)):
                self.connect()
            if data is not None:
                self.browser.received(data)
        self.server.received(b"echo")
        self.assertEqual(self.server.written, b"".join(data for data in said if data))
        self.assertEqual(self.browser.written, b"echo")


class RawRefusalTests(RawTestCase):
    def test_the_target_refuses(self) -> None:
        """The Close says why, with the request's id; nothing else does."""
        done = self.start()
        self.dialer.dialed[0].errback(TargetRefused("192.0.2.7:10000 refused the connection"))
        self.assertEqual(self.browser.closed_with, Ending.TARGET_REFUSED)
        words = "The machine's console cannot be reached. Is the machine running? (req-1)"
        self.assertEqual(self.browser.closed_saying, words)
        self.assertEqual(self.browser.written, b"")
        self.lose(self.browser)
        self.successResultOf(done)

    def test_turned_away(self) -> None:
        """A link that has expired is refused at once: no answer is waited for."""
        self.start(TokenExpired("expired"))
        self.assertEqual(self.browser.closed_with, Ending.TOKEN_EXPIRED)
        self.assertIn("Open the console again. (req-1)", self.browser.closed_saying)
        self.assertEqual(self.dialer.dialed, [])

    def test_the_client_leaves_while_the_target_is_dialled(self) -> None:
        """The attempt to connect is given up with it."""
        done = self.start()
        self.lose(self.browser)
        self.successResultOf(done)
        self.assertTrue(self.dialer.dialed[0].called)
        self.assertEqual(self.observer.events, ["started", "ended client-lost"])

    def test_the_machine_closes(self) -> None:
        """A console that ran, and ended, is no refusal: the words stand alone."""
        self.open()
        self.lose(self.server, Ending.SERVER_CLOSED)
        self.assertEqual(self.browser.closed_with, Ending.SERVER_CLOSED)
        self.assertEqual(self.browser.closed_saying, "The machine closed the console.")


class LifetimeTests(RawTestCase):
    """``enforce_session_timeout``: a console lives as long as its token."""

    def setUp(self) -> None:
        super().setUp()
        self.policy = replace(self.policy, lifetime_s=lambda _grant: 600)

    def test_it_counts_from_the_opening(self) -> None:
        """The time that remains when the console opens is given, and no more."""
        self.start()
        self.clock.advance(10)
        self.connect()
        self.clock.advance(599.9)
        self.assertIsNone(self.browser.closed_with)
        self.clock.advance(0.2)
        self.assertEqual(self.browser.closed_with, Ending.SESSION_EXPIRED)
        self.assertEqual(self.server.closed_with, Ending.SESSION_EXPIRED)
        self.assertIn("The time for this console is over.", self.browser.closed_saying)

    def test_no_timer_is_left(self) -> None:
        """A console that ends before leaves nothing behind: nova's timer kept its process alive."""
        done = self.open()
        self.lose(self.server, Ending.SERVER_CLOSED)
        self.lose(self.browser)
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_token_that_expired_while_the_console_opened(self) -> None:
        """No time is left, so it ends at once."""
        self.policy = replace(self.policy, lifetime_s=lambda _grant: -3)
        self.open()
        self.clock.advance(0)
        self.assertEqual(self.browser.closed_with, Ending.SESSION_EXPIRED)

    def test_the_grant_decides(self) -> None:
        """What is asked is the token's own grant."""
        asked: list[Grant] = []
        self.policy = replace(self.policy, lifetime_s=lambda grant: asked.append(grant))
        self.open()
        self.assertEqual(asked, [grant_for(Token("t"))])
        self.assertEqual(self.clock.getDelayedCalls(), [])
