"""Workers that die, hang and come back, without any process: what the parent does, and when."""

from __future__ import annotations

import signal
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.workers.fakes import FakeLauncher, FakeProcess, RunningClock, session
from vncproxy.model import Ending
from vncproxy.workers.commands import REPORT_INTERVAL_S, State
from vncproxy.workers.parent import Workers
from vncproxy.workers.place import UNFIT


class ParentTestCase(SynchronousTestCase):
    """A parent of two workers."""

    def setUp(self) -> None:
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)  # type: ignore[arg-type]
        self.clock = RunningClock()
        self.launcher = FakeLauncher(self.clock)
        self.given_up = 0
        self.workers = Workers(self.clock, 2, self.launcher, self.give_up)
        self.workers.startService()

    def give_up(self) -> None:
        self.given_up += 1

    @property
    def started(self) -> list[FakeProcess]:
        return self.launcher.started

    def both_ready(self) -> tuple[FakeProcess, FakeProcess]:
        self.started[0].says(State.READY)
        self.started[1].says(State.READY)
        return self.started[0], self.started[1]

    def serve_well(self, process: FakeProcess) -> None:
        for _ in range(5):
            process.says(State.READY, 3)

    def logged(self, text: str) -> bool:
        return any(text in (formatEvent(event) or "") for event in self.log)


class StartTests(ParentTestCase):
    def test_the_first_goes_before_the_others(self) -> None:
        """The second worker is started when the first one serves."""
        self.started[0].says(State.STARTING)
        self.assertEqual(len(self.started), 1)
        self.started[0].says(State.READY)
        self.assertEqual(len(self.started), 2)
        self.started[0].says(State.READY)
        self.assertEqual(len(self.started), 2)

    def test_settings_that_no_worker_can_follow(self) -> None:
        """End the gateway, when the first worker says so."""
        self.started[0].ends(UNFIT)
        self.assertEqual(self.given_up, 1)

    def test_a_worker_that_becomes_unfit(self) -> None:
        """When some have served, a later one that can't is only tried again."""
        self.both_ready()[1].ends(UNFIT)
        self.assertEqual(self.given_up, 0)
        self.clock.advance(1)
        self.assertEqual(len(self.started), 3)


class RestartTests(ParentTestCase):
    def test_one_that_served_well(self) -> None:
        """Is replaced at once, and the log says what was lost."""
        first, _ = self.both_ready()
        self.serve_well(first)
        first.ends()
        self.clock.advance(0)
        self.assertEqual(len(self.started), 3)
        self.assertTrue(
            self.logged(
                "worker 1, process 100, was killed by SIGKILL; by its last report it had 3 "
                "sessions; the next one starts now"
            )
        )

    def test_one_that_dies_again_and_again(self) -> None:
        """Is waited for twice as long each time, and the log says how long."""
        self.both_ready()
        for delay_s in (1, 2, 4):
            self.started[-1].ends(70)
            self.assertTrue(self.logged(f"the next one starts in {delay_s} s"))
            before = len(self.started)
            self.clock.advance(delay_s - 0.01)
            self.assertEqual(len(self.started), before)
            self.clock.advance(0.01)
            self.assertEqual(len(self.started), before + 1)

    def test_one_that_an_operator_has_ended(self) -> None:
        """Is replaced at once, however young it was."""
        first, _ = self.both_ready()
        first.says(State.DRAINING)
        first.ends(0)
        self.clock.advance(0)
        self.assertEqual(len(self.started), 3)

    def test_one_that_ends_before_it_serves(self) -> None:
        """Is not replaced at once, whatever its status."""
        self.started[0].ends(0)
        self.clock.advance(0.9)
        self.assertEqual(len(self.started), 1)

    def test_one_that_can_not_be_started(self) -> None:
        """A system without processes or descriptors left is tried again, later and later."""
        first, _ = self.both_ready()
        self.serve_well(first)
        self.launcher.fault = OSError(11, "Resource temporarily unavailable")
        first.ends()
        self.clock.advance(0)
        self.assertTrue(self.logged("worker 1, process -, could not be started (Resource"))
        self.clock.advance(1)
        self.launcher.fault = None
        self.clock.advance(1.9)
        self.assertEqual(len(self.started), 2)
        self.clock.advance(0.1)
        self.assertEqual(len(self.started), 3)

    def test_one_that_hangs(self) -> None:
        """Is killed after a minute without a report; one that reports is not."""
        first, second = self.both_ready()
        for _ in range(29):
            self.clock.advance(REPORT_INTERVAL_S)
            second.says(State.READY)
        self.assertEqual(first.signals, [])
        self.clock.advance(REPORT_INTERVAL_S)
        self.assertEqual((first.signals, second.signals), (["KILL"], []))
        self.assertTrue(self.logged("worker 1, process 100, has hung for 60 s: it is killed"))

    def test_a_clock_that_jumps(self) -> None:
        """An hour that passes at once kills nobody."""
        first, second = self.both_ready()
        self.clock.advance(3600)
        self.assertEqual((first.signals, second.signals), ([], []))


class StopTests(ParentTestCase):
    def test_all_stop(self) -> None:
        """Every worker is told; the stop is over when the last one has gone."""
        first, second = self.both_ready()
        stopping = self.stop()
        self.assertEqual((first.stopped, second.stopped), (1, 1))
        first.ends(0)
        self.assertNoResult(stopping)
        second.ends(0)
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.started), 2)

    def stop(self) -> Deferred[None]:
        stopping = self.workers.stopService()
        for process in self.started:
            process.wires.carry()
        return stopping

    def test_while_a_worker_is_waited_for(self) -> None:
        """No other one is started."""
        first, second = self.both_ready()
        first.ends(70)
        stopping = self.stop()
        second.ends(0)
        self.successResultOf(stopping)
        self.clock.advance(60)
        self.assertEqual(len(self.started), 2)

    def test_one_that_hangs(self) -> None:
        """The stop does not wait for ever for a worker that does not hear."""
        first, second = self.both_ready()
        stopping = self.stop()
        second.ends(0)
        for _ in range(30):
            self.clock.advance(REPORT_INTERVAL_S)
        self.assertEqual(first.signals, ["KILL"])
        first.ends()
        self.successResultOf(stopping)


class SpokesmanTests(ParentTestCase):
    def ask(self, answer: Deferred[Any]) -> object:
        for process in self.started:
            process.wires.carry()
        return self.successResultOf(answer)

    def test_sessions(self) -> None:
        """The list has those of all workers, each with its worker's number."""
        for process, name in zip(self.both_ready(), ("req-1", "req-2"), strict=True):
            process.sessions.append(session(name))
        self.clock.advance(1.5)
        listed = self.ask(Deferred.fromCoroutine(self.workers.sessions()))
        assert isinstance(listed, list)
        self.assertEqual(
            [(it["request_id"], it["worker"]) for it in listed], [("req-1", 1), ("req-2", 2)]
        )
        self.assertEqual(listed[0]["seconds"], 1.5)
        self.assertNotIn("secret", str(listed))

    def test_thousands_of_sessions(self) -> None:
        """A list that no single AMP value can hold arrives whole."""
        first, _ = self.both_ready()
        first.sessions += [session(f"req-{number}") for number in range(2000)]
        listed = self.ask(Deferred.fromCoroutine(self.workers.sessions()))
        assert isinstance(listed, list)
        self.assertEqual(len(listed), 2000)

    def test_ending_a_session(self) -> None:
        """It ends wherever it lives; of one that lives nowhere the answer says so."""
        _, second = self.both_ready()
        second.sessions += [session("req-1"), session("req-2")]
        end = self.workers.end_session
        ending = Deferred.fromCoroutine(end("req-2", Ending.GATEWAY_STOPPING, "by hand"))
        self.assertEqual(self.ask(ending), True)
        self.assertEqual(
            [it.ended for it in second.sessions], [[], [(Ending.GATEWAY_STOPPING, "by hand")]]
        )
        ending = Deferred.fromCoroutine(end("req-3", Ending.GATEWAY_STOPPING, ""))
        self.assertEqual(self.ask(ending), False)

    def test_metrics(self) -> None:
        """Each worker's come under its number; one that does not answer in time is left out."""
        _, second = self.both_ready()
        answer = Deferred.fromCoroutine(self.workers.metrics())
        second.wires.carry()
        self.assertNoResult(answer)
        self.clock.advance(5)
        self.assertEqual(self.successResultOf(answer), {"2": b"metrics of 101"})
        self.assertTrue(self.logged("worker 1 gave no answer"))

    def test_a_worker_that_starts(self) -> None:
        """It is not asked, and keeps nobody waiting."""
        self.started[0].says(State.READY)
        answer = Deferred.fromCoroutine(self.workers.metrics())
        self.started[0].wires.carry()
        self.assertEqual(self.successResultOf(answer), {"1": b"metrics of 100"})

    def test_signals(self) -> None:
        """They are passed on, but not to one that starts, which they would kill."""
        self.started[0].says(State.READY)
        self.workers.signal("HUP")
        self.assertEqual([it.signals for it in self.started], [["HUP"], []])

    def test_a_signal_that_comes_early(self) -> None:
        """A worker that only starts is told, once, when it serves; else it would miss a reload."""
        self.started[0].says(State.READY)
        first, second = self.started
        for _ in range(2):
            self.workers.signal("HUP")
        self.assertEqual(second.signals, [])
        second.says(State.READY)
        self.assertEqual((first.signals, second.signals), (["HUP"] * 2, ["HUP"]))
        second.says(State.READY)
        self.assertEqual(second.signals, ["HUP"])

    def test_the_least_loaded(self) -> None:
        """A report is answered with the fewest sessions that another serving worker has."""
        first, second = self.both_ready()
        second.says(State.READY, 7)
        first.says(State.READY, 9)
        self.assertEqual(first.fewest, 7)
        second.ends(70)
        first.says(State.READY, 9)
        self.assertEqual(first.fewest, 9)
