"""Threads that may hang: how many there are, who waits, and what is left behind."""

from __future__ import annotations

import threading

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from tests.compute.harness import ThreadedClock
from vncproxy.compute.threads import BoundedThreads, let_go


class BoundedThreadsTests(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.threads = BoundedThreads(reactor, 2, self.id())  # type: ignore[arg-type]
        self.gates: list[threading.Event] = []
        self.began: list[int] = []

    def tearDown(self) -> None:
        for gate in self.gates:
            gate.set()

    def hang(self) -> Deferred[int]:
        """Begin a call that returns its number when its gate opens."""
        number, gate = len(self.gates), threading.Event()
        self.gates.append(gate)

        def call() -> int:
            self.began.append(number)
            gate.wait(30)
            return number

        return self.threads.call(call)

    async def test_results_and_faults(self) -> None:
        """Both come back to the reactor's thread."""
        self.assertEqual(await self.threads.call(lambda: 7), 7)
        with self.assertRaises(ZeroDivisionError):
            await self.threads.call(lambda: 1 // 0)
        self.assertEqual(self.threads.running, 0)

    async def test_no_more_than_the_bound(self) -> None:
        """The third waits until one of two ends; then its turn comes."""
        calls = [self.hang() for _ in range(3)]
        self.assertEqual(self.threads.running, 2)
        self.gates[0].set()
        self.assertEqual(await calls[0], 0)
        self.gates[2].set()
        self.assertEqual(await calls[2], 2)
        self.assertEqual(sorted(self.began), [0, 1, 2])

    async def test_a_call_that_nobody_waits_for(self) -> None:
        """Forgotten in its turn it never begins; forgotten while it runs it ends unheard."""
        runs, _runs, waits = self.hang(), self.hang(), self.hang()
        for given_up in (waits, runs):
            given_up.cancel()
            with self.assertRaises(CancelledError):
                await given_up
        self.assertEqual(self.threads.running, 2)
        self.gates[0].set()
        self.assertEqual(await self.threads.call(lambda: "next"), "next")
        self.assertNotIn(2, self.began)

    async def test_no_thread_to_be_had(self) -> None:
        """A call whose thread the system refuses fails, in its turn too; the others go on."""
        first, second, third = self.hang(), self.hang(), self.hang()
        begin = threading.Thread.start

        def refuse(_thread: threading.Thread) -> None:
            self.patch(threading.Thread, "start", begin)
            raise RuntimeError("can't start new thread")

        fourth = self.hang()
        self.patch(threading.Thread, "start", refuse)
        for gate in self.gates:
            gate.set()
        self.assertEqual([await first, await second, await fourth], [0, 1, 3])
        with self.assertRaisesRegex(RuntimeError, "new thread"):
            await third
        self.assertEqual(self.threads.running, 0)

    async def test_hanging_threads_end_with_the_process(self) -> None:
        """They are daemons: a host that never answers does not keep the gateway from stopping."""
        _hangs = self.hang()
        hanging = [thread for thread in threading.enumerate() if thread.name == self.id()]
        self.assertEqual([thread.daemon for thread in hanging], [True])


class LetGoTests(TestCase):
    def setUp(self) -> None:
        self.clock = ThreadedClock()
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def lines(self) -> list[str]:
        return [formatEvent(event) for event in self.log]

    async def test_what_closes(self) -> None:
        """It is waited for, and nothing is said."""
        closed: list[str] = []
        await let_go(self.clock, lambda: closed.append("all"), "the pool")  # type: ignore[arg-type]
        self.assertEqual((closed, self.lines()), (["all"], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_what_hangs(self) -> None:
        """It is waited for three seconds, and left behind with a line in the log."""
        gate = threading.Event()
        self.addCleanup(gate.set)

        def hang() -> None:
            gate.wait(30)

        closing = let_go(self.clock, hang, "the pool")  # type: ignore[arg-type]
        self.clock.advance(2.9)
        self.assertNoResult(closing)
        self.clock.advance(0.2)
        self.assertIsNone(self.successResultOf(closing))
        self.assertEqual(self.lines(), ["the pool did not let itself be closed in time"])

    async def test_what_fails(self) -> None:
        """That is logged, and stops nobody from closing the rest."""

        def fail() -> None:
            raise ZeroDivisionError

        await let_go(self.clock, fail, "the pool")  # type: ignore[arg-type]
        self.assertEqual(self.lines(), ["the pool did not let itself be closed"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
