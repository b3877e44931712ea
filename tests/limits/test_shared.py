"""Limits that several workers ask their parent for, over AMP in memory."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.protocols.amp import AMP, Command
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, connect
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.config.read import read_settings
from vncproxy.errors import (
    ClientTooFast,
    GatewayCrowded,
    GatewayFull,
    TokenFull,
    TooManyFailedTokens,
)
from vncproxy.limits.failures import FailedTokens
from vncproxy.limits.node import NodeLimits
from vncproxy.limits.rate import Rate
from vncproxy.limits.seats import MostSessions, Seats
from vncproxy.limits.shared import LimitsKeeper, Shared, SharedLimits
from vncproxy.model import Seat

_SEAT = Seat("c", "i", "t")
_ANY_NUMBER = MostSessions()


class Worker:
    """A worker's limits, and the connection by which they ask."""

    def __init__(self, limits: NodeLimits, most_here: MostSessions = _ANY_NUMBER) -> None:
        self.keeper = LimitsKeeper(limits)
        parent, worker = AMP(locator=self.keeper), AMP()
        self.pump = connect(
            parent, FakeTransport(parent, True), worker, FakeTransport(worker, False)
        )
        self.limits = SharedLimits(worker.callRemote, Shared(True, True, True), Seats(most_here))


class SharedLimitsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        now = lambda: self.now  # noqa: E731
        self.node = NodeLimits(
            Rate(1.0, 3, now), FailedTokens(2, now), Seats(MostSessions(token=2))
        )
        self.workers = [Worker(self.node) for _ in range(3)]

    def flush(self) -> None:
        for worker in self.workers:
            worker.pump.flush()

    def test_the_rate_is_the_node_s(self) -> None:
        """A client's burst is one for all workers, and the refusal says when to come again."""
        arrivals = [worker.limits.arrive("c") for worker in self.workers * 2]
        self.flush()
        results = [self.outcome(arrival) for arrival in arrivals]
        self.assertEqual(results.count(None), 3)
        refused = next(result for result in results if result is not None)
        self.assertIsInstance(refused, ClientTooFast)
        self.assertEqual(refused.retry_after_s, 1.0)  # type: ignore[attr-defined]

    def outcome(self, deferred: object) -> Exception | None:
        """Return the error of what has fired; None if it has none."""
        found: list[object] = []
        deferred.addBoth(found.append)  # type: ignore[attr-defined]
        return getattr(found[0], "value", None)

    def test_room(self) -> None:
        """The node is full for each worker when all of them together have filled it."""
        self.node = NodeLimits(
            Rate(0, 1, lambda: 0), FailedTokens(0, lambda: 0), Seats(MostSessions(node=2))
        )
        self.workers = [Worker(self.node) for _ in range(3)]
        one, two, three = self.workers
        rooms = [three.limits.have_room()]
        self.flush()
        for name, worker in (("a", one), ("b", two)):
            worker.limits.take_seat(name, _SEAT)
            self.flush()
        rooms.append(three.limits.have_room())
        self.flush()
        one.limits.leave_seat("a")
        self.flush()
        rooms.append(three.limits.have_room())
        self.flush()
        self.assertEqual(
            [type(self.outcome(room)) for room in rooms], [type(None), GatewayFull, type(None)]
        )

    def test_room_where_nothing_is_shared(self) -> None:
        """A worker answers for itself, and does not ask the parent, who does not count."""

        def not_asked(*_arguments: object, **_more: object) -> None:
            raise AssertionError("the parent was asked")

        own = SharedLimits(not_asked, Shared(True, True, False), Seats(MostSessions(node=1)))
        self.successResultOf(own.have_room())
        self.successResultOf(own.take_seat("a", _SEAT))
        self.failureResultOf(own.have_room(), GatewayFull)

    def test_seats(self) -> None:
        """A token's seats are counted over all workers; a worker's end gives its seats back."""
        one, two, three = self.workers
        taken = [one.limits.take_seat("a", _SEAT), two.limits.take_seat("b", _SEAT)]
        self.flush()
        for seat in taken:
            self.successResultOf(seat)
        refused = three.limits.take_seat("c", _SEAT)
        self.flush()
        self.failureResultOf(refused, TokenFull)
        one.limits.leave_seat("a")
        two.keeper.worker_gone()
        self.flush()
        again = [three.limits.take_seat(name, _SEAT) for name in ("d", "e")]
        self.flush()
        for seat in again:
            self.successResultOf(seat)

    def test_what_a_process_can_carry(self) -> None:
        """A worker takes no more than its own open files allow, wherever the others are."""
        full = Worker(self.node, MostSessions(node=1))
        self.workers.append(full)
        first, second = (full.limits.take_seat(name, Seat("c", "i", name)) for name in ("x", "y"))
        self.flush()
        self.successResultOf(first)
        self.failureResultOf(second, GatewayFull)
        full.limits.leave_seat("y")
        full.limits.leave_seat("x")
        again = full.limits.take_seat("z", Seat("c", "i", "z"))
        self.flush()
        self.successResultOf(again)

    def test_limits_that_are_not_set(self) -> None:
        """The parent is asked about those that are set, and about nothing else."""
        asked: list[str] = []

        def call(command: type[Command], **_arguments: object) -> Deferred[dict[str, str]]:
            asked.append(command.__name__)
            return succeed({"refusal": ""})

        for shared, questions in (
            (Shared(False, False, False), []),
            (Shared(True, False, False), ["Arrive"]),
            (Shared(False, True, False), ["BeginLookUp", "EndLookUp"]),
            (Shared(False, False, True), ["TakeSeat", "LeaveSeat"]),
        ):
            limits = SharedLimits(call, shared, Seats(MostSessions()))
            self.successResultOf(limits.arrive("c"))
            self.successResultOf(limits.begin_look_up("c"))
            limits.end_look_up("c", False)
            self.successResultOf(limits.take_seat("a", _SEAT))
            limits.leave_seat("a")
            self.assertEqual(asked, questions)
            asked.clear()

    def test_by_the_settings(self) -> None:
        """By default those of sessions are set, and a refused token costs the parent nothing."""
        settings = read_settings([], "vncproxy")
        self.assertEqual(Shared.of(settings), Shared(False, False, True))
        none = replace(settings.limits, max_sessions_per_instance=0, max_sessions_per_token=0)
        unset = replace(settings, limits=none)
        self.assertEqual(Shared.of(unset), Shared(False, False, False))
        some = replace(none, connection_rate=1.0, failed_tokens=1, max_sessions=1)
        self.assertEqual(Shared.of(replace(settings, limits=some)), Shared(True, True, True))

    def test_bad_tokens(self) -> None:
        """Bad tokens at several workers count together."""
        for worker in self.workers[:2]:
            turn = worker.limits.begin_look_up("c")
            self.flush()
            self.successResultOf(turn)
            worker.limits.end_look_up("c", False)
            self.flush()
        refused = self.workers[2].limits.begin_look_up("c")
        self.flush()
        self.failureResultOf(refused, TooManyFailedTokens)

    def test_turns(self) -> None:
        """Who waits for its turn, and leaves, or whose worker ends, blocks nobody."""
        one, two, three = self.workers
        first = [one.limits.begin_look_up("c") for _ in range(2)]
        leaving, patient = two.limits.begin_look_up("c"), three.limits.begin_look_up("c")
        self.flush()
        for turn in first:
            self.successResultOf(turn)
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.assertNoResult(patient)
        one.keeper.worker_gone()
        self.flush()
        self.successResultOf(patient)
        three.limits.end_look_up("c", True)
        self.flush()
        self.assertEqual(self.node._failures._clients, {})

    def test_no_parent(self) -> None:
        """A worker whose parent is gone lets nobody in."""
        lonely = AMP()
        lonely.makeConnection(StringTransport())
        limits = SharedLimits(lonely.callRemote, Shared(True, True, True), Seats(MostSessions()))
        asked = limits.arrive("c")
        lonely.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(asked, GatewayCrowded)
