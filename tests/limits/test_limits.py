"""The limits' arithmetic, with a clock that the tests set."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.config.read import read_settings
from vncproxy.errors import (
    ClientFull,
    ClientTooFast,
    GatewayFull,
    InstanceFull,
    TokenFull,
    TooManyFailedTokens,
)
from vncproxy.limits.address import client_of
from vncproxy.limits.build import most_pending_of, most_sessions_of
from vncproxy.limits.failures import FailedTokens
from vncproxy.limits.rate import MOST_CLIENTS, Rate
from vncproxy.limits.seats import MostSessions, Seats
from vncproxy.model import NO_INSTANCE, Seat


class AddressTests(SynchronousTestCase):
    def test_clients(self) -> None:
        """An IPv4 address is a client; of IPv6 a /64 is; anything else is itself."""
        for address, client in [
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("fe80::1%eth0", "fe80::/64"),
            ("a local socket", "a local socket"),
        ]:
            self.assertEqual(client_of(address), client)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Whatever stands there, it is somebody."""
        self.assertIsInstance(client_of(text), str)


class RateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.rate = Rate(2.0, 5, lambda: self.now)

    def arrivals(self, count: int, client: str = "a") -> int:
        """Return how many of so many arrivals are allowed."""
        allowed = 0
        for _ in range(count):
            try:
                self.rate.arrive(client)
            except ClientTooFast:
                continue
            allowed += 1
        return allowed

    def test_a_burst_and_then_a_rate(self) -> None:
        """Of 500 at once five pass; then two each second; clients do not share."""
        self.assertEqual(self.arrivals(500), 5)
        self.now += 1
        self.assertEqual(self.arrivals(500), 2)
        self.assertEqual(self.arrivals(500, "b"), 5)
        self.now += 3600
        self.assertEqual(self.arrivals(500), 5)

    def test_when_to_try_again(self) -> None:
        """The refusal says after how many seconds the next one will pass."""
        self.arrivals(5)
        with self.assertRaises(ClientTooFast) as caught:
            self.rate.arrive("a")
        self.now += caught.exception.retry_after_s
        self.rate.arrive("a")

    def test_no_limit(self) -> None:
        """0 lets all pass."""
        self.rate = Rate(0, 1, lambda: self.now)
        self.assertEqual(self.arrivals(500), 500)

    def test_many_addresses(self) -> None:
        """What is remembered of clients is bounded."""
        for number in range(MOST_CLIENTS + 10):
            self.rate.arrive(str(number))
        self.assertEqual(len(self.rate._buckets._levels), MOST_CLIENTS)


class FailedTokensTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.failures = FailedTokens(3, lambda: self.now)

    def bad(self, client: str = "a") -> None:
        self.successResultOf(self.failures.begin(client))
        self.failures.end(client, good=False)

    def wait_s(self, client: str = "a") -> float:
        error = self.failureResultOf(self.failures.begin(client), TooManyFailedTokens)
        wait_s: float = error.value.retry_after_s
        return wait_s

    def test_back_off(self) -> None:
        """After three bad tokens one waits 1 s, and twice as long each time, up to 300 s."""
        for _ in range(3):
            self.bad()
        self.successResultOf(self.failures.begin("another"))
        waits = []
        for _ in range(10):
            waits.append(self.wait_s())
            self.now += waits[-1]
            self.bad()
        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300])

    def test_a_good_token_forgives(self) -> None:
        """A good token, or five minutes without a bad one, begin the count anew."""
        for forgive in (self.good, self.wait_long):
            self.bad()
            self.bad()
            forgive()
            self.bad()
            self.bad()
            self.good()
        self.assertEqual(self.failures._clients, {})

    def good(self) -> None:
        self.successResultOf(self.failures.begin("a"))
        self.failures.end("a", good=True)

    def wait_long(self) -> None:
        self.now += 301

    def test_a_database_that_is_away(self) -> None:
        """A token of which nobody knows whether it is good neither counts nor forgives."""
        self.bad()
        self.bad()
        for _ in range(10):
            self.successResultOf(self.failures.begin("a"))
            self.failures.end("a", good=None)
        self.bad()
        self.wait_s()

    def test_five_hundred_at_once(self) -> None:
        """Of 500 bad tokens at once three reach the database."""
        turns = [self.failures.begin("a") for _ in range(500)]
        looked_up = [turn for turn in turns if turn.called]
        self.assertEqual(len(looked_up), 3)
        for _ in looked_up:
            self.failures.end("a", good=False)
        for turn in turns[3:]:
            self.failureResultOf(turn, TooManyFailedTokens)

    def test_five_hundred_good_ones_at_once(self) -> None:
        """Good ones take their turns, a few at a time, and all are looked up."""
        turns = [self.failures.begin("a") for _ in range(500)]
        done = 0
        while done < 500:
            ready = sum(turn.called for turn in turns)
            self.assertLessEqual(ready - done, 3)
            self.failures.end("a", good=True)
            done += 1
        self.assertEqual(self.failures._clients, {})

    def test_who_waits_may_leave(self) -> None:
        """A client that leaves while it waits for its turn takes none."""
        first = [self.failures.begin("a") for _ in range(3)]
        gone: Deferred[None] = self.failures.begin("a")
        patient = self.failures.begin("a")
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.failures.end("a", good=True)
        self.successResultOf(patient)
        self.assertEqual(len(first), 3)

    def test_many_addresses(self) -> None:
        """What is remembered of clients is bounded."""
        for number in range(MOST_CLIENTS + 10):
            self.bad(str(number))
        self.assertEqual(len(self.failures._clients), MOST_CLIENTS)


class SeatsTests(SynchronousTestCase):
    def taken(self, seats: Seats, wanted: list[Seat]) -> int:
        count = 0
        for number, seat in enumerate(wanted):
            try:
                seats.take(str(number), seat)
            except (ClientFull, GatewayFull, InstanceFull, TokenFull):
                continue
            count += 1
        return count

    def test_each_limit(self) -> None:
        """Of 500 sessions as many are seated as the limit says, and again when they have left."""
        for most, seat in [
            (MostSessions(node=7), lambda n: Seat(f"c{n}", f"i{n}", f"t{n}")),
            (MostSessions(client=7), lambda n: Seat("c", f"i{n}", f"t{n}")),
            (MostSessions(instance=7), lambda n: Seat(f"c{n}", "i", f"t{n}")),
            (MostSessions(token=7), lambda n: Seat(f"c{n}", f"i{n}", "t")),
        ]:
            seats = Seats(most)
            wanted = [seat(number) for number in range(500)]
            for _ in range(2):
                self.assertEqual(self.taken(seats, wanted), 7)
                self.assertEqual(seats.count, 7)
                for number in range(500):
                    seats.leave(str(number))
                    seats.leave(str(number))
                self.assertEqual(seats.count, 0)
            self.assertEqual(sum(map(len, (seats._clients, seats._instances, seats._tokens))), 0)

    def test_tokens_that_name_no_machine(self) -> None:
        """They are not counted as one machine's."""
        seats = Seats(MostSessions(instance=7))
        wanted = [Seat(f"c{n}", NO_INSTANCE, f"t{n}") for n in range(500)]
        self.assertEqual(self.taken(seats, wanted), 500)

    def test_channels(self) -> None:
        """SPICE's connections of one client with one token are one session."""
        seats = Seats(MostSessions(token=1))
        channel = Seat("c", "i", "t", channel=True)
        self.assertEqual(self.taken(seats, [channel] * 6), 6)
        self.assertEqual(seats.count, 1)
        with self.assertRaises(TokenFull):
            seats.take("other", Seat("another client", "i", "t", channel=True))
        for number in range(6):
            self.assertEqual(seats.count, 1)
            seats.leave(str(number))
        self.assertEqual(seats.count, 0)

    def test_no_end_of_channels(self) -> None:
        """More connections than a console has channels are more sessions, up to the limits."""
        for most, refused in (
            (MostSessions(node=2), GatewayFull),
            (MostSessions(client=2), ClientFull),
            (MostSessions(instance=2), InstanceFull),
            (MostSessions(token=2), TokenFull),
        ):
            seats = Seats(most)
            channel = Seat("c", "i", "t", channel=True)
            self.assertEqual(self.taken(seats, [channel] * 32), 32)
            self.assertEqual(seats.count, 2)
            self.assertRaises(refused, seats.take, "beyond", channel)
            for number in range(32):
                seats.leave(str(number))
                self.assertEqual(seats.count, math.ceil((31 - number) / 16))
            self.assertEqual((len(seats._clients), len(seats._channels)), (0, 0))


class MostSessionsTests(SynchronousTestCase):
    def test_descriptors(self) -> None:
        """Unset, the sessions of a node are as many as its open files allow, at least some."""
        settings = read_settings([], "vncproxy")
        for descriptors, most in ((1024, 206), (4096, 998), (524288, 261094)):
            self.assertEqual(most_sessions_of(settings, descriptors), most)

    def test_pending_connections(self) -> None:
        """They never take more than half of the open files, of all kinds of listeners together."""
        settings = read_settings([], "vncproxy")
        for descriptors, most in ((1024, 256), (4096, 1000), (524288, 1000)):
            self.assertEqual(most_pending_of(settings, descriptors), most)
        watching = replace(settings.watching, metrics_listen="tcp:1")
        more = replace(settings, watching=watching, api=replace(settings.api, api_listen=("x",)))
        self.assertEqual(most_pending_of(more, 1024), 128)
        self.assertEqual(most_sessions_of(more, 1024), most_sessions_of(settings, 1024))

    def test_a_number(self) -> None:
        """A number in the configuration is the number."""
        settings = read_settings([], "vncproxy")
        for most in (0, 5):
            chosen = replace(settings, limits=replace(settings.limits, max_sessions=most))
            self.assertEqual(most_sessions_of(chosen, 1024), most)
