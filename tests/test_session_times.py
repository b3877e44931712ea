"""Ending sessions by the clock, as their counters stand."""

from __future__ import annotations

from functools import partial
from typing import cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import MemoryLeg, RecordingObserver, grant_for
from tests.test_session import FakeDialer
from vncproxy.model import Ending, SessionFacts, Token
from vncproxy.registry import Registry
from vncproxy.rfb.negotiator import Negotiator
from vncproxy.session import Session, SessionPolicy
from vncproxy.session_times import SessionTimes, TimeLimits
from vncproxy.target import Dialer


class TimesTestCase(SynchronousTestCase):
    limits = TimeLimits()
    console_type = "novnc"

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.registry = Registry(self.clock, 3.0)
        self.times = SessionTimes(self.registry, self.limits, self.clock)
        self.times.startService()
        self.addCleanup(self.times.stopService)
        policy = SessionPolicy(
            self.clock,
            cast(Dialer, FakeDialer()),
            partial(Negotiator, auth_schemes=["none"]),
            1e9,
            RecordingObserver(),
        )
        grant = grant_for(Token("t"), console_type=self.console_type)
        self.facts = SessionFacts("req-1", "192.0.2.1", self.clock.seconds(), grant)
        self.browser = MemoryLeg()
        self.registry.start(Session(policy, self.facts), self.browser)

    def run_for(self, seconds: int, to_client: int = 0, to_server: int = 0) -> Ending | None:
        """Let so many bytes pass in each of these seconds; return how the session has ended."""
        for _ in range(seconds):
            self.facts.bytes_to_client += to_client
            self.facts.bytes_to_server += to_server
            self.clock.advance(1)
        return self.facts.ending


class ClientIdleTests(TimesTestCase):
    limits = TimeLimits(client_idle_s=60)

    def test_nobody_at_the_keyboard(self) -> None:
        """A minute without input ends the session, whatever the screen does meanwhile."""
        self.assertIsNone(self.run_for(59, to_client=5000))
        self.assertIs(self.run_for(1, to_client=5000), Ending.CLIENT_IDLE)
        self.assertEqual(self.facts.detail, "after 60 s")

    def test_every_input_counts(self) -> None:
        """Keys, pointer and clipboard begin the minute anew; several keys at once, too."""
        for sent in (8, 6, 12, 17, 8 * 31, 6 * 59):
            self.assertIsNone(self.run_for(59))
            self.assertIsNone(self.run_for(1, to_server=sent))
        self.assertIs(self.run_for(60), Ending.CLIENT_IDLE)

    def test_a_screen_that_changes_by_itself(self) -> None:
        """NoVNC asks for each next picture by itself: a blinking cursor is no user."""
        self.assertIs(self.run_for(60, to_client=900, to_server=20), Ending.CLIENT_IDLE)


class OtherConsoleTests(TimesTestCase):
    limits = TimeLimits(client_idle_s=60)
    console_type = "serial"

    def test_ten_characters(self) -> None:
        """On a serial console ten bytes are ten keys."""
        self.assertIsNone(self.run_for(59))
        self.assertIsNone(self.run_for(59, to_server=10))
        self.assertIs(self.run_for(60), Ending.CLIENT_IDLE)


class ServerIdleTests(TimesTestCase):
    limits = TimeLimits(server_idle_s=60)

    def test_a_silent_machine(self) -> None:
        """A minute without output ends the session, whatever its user types."""
        self.assertIsNone(self.run_for(59, to_server=8))
        self.assertIsNone(self.run_for(1, to_client=1))
        self.assertIsNone(self.run_for(59, to_server=8))
        self.assertIs(self.run_for(1, to_server=8), Ending.SERVER_IDLE)


class LongestTests(TimesTestCase):
    limits = TimeLimits(longest_s=60)

    def test_the_longest_session(self) -> None:
        """After a minute it is over, however busy."""
        self.assertIsNone(self.run_for(59, to_client=100, to_server=8))
        self.assertIs(self.run_for(1, to_client=100, to_server=8), Ending.SESSION_TOO_LONG)

    def test_nothing_is_kept_of_ended_sessions(self) -> None:
        """What was seen of a session goes with it."""
        self.run_for(70)
        self.assertEqual(self.times._seen, {})
