"""The verdicts on the numbers to reach."""

from __future__ import annotations

import operator
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from bench.goals import GOALS, Goal, judge
from bench.measures import MEASURES
from bench.peers import PEERS
from bench.report import SECTIONS
from tests.bench.test_results import run_of

_CHEAP = Goal("bulk", "cpu", "ours", "theirs", operator.le, 0.5)
_FAST = Goal("echo", "p99", "ours", None, operator.lt, 50, " ms")
_WIDE = Goal("echo", "rate", "two", "ours", operator.ge, 1.8, needs_cores=2)


class JudgeTests(SynchronousTestCase):
    def test_ratio(self) -> None:
        """The figure is divided by the other peer's; the limit itself is still reached."""
        run = run_of(("ours", "bulk", {"cpu": 2}), ("theirs", "bulk", {"cpu": 4}))
        verdict = judge(_CHEAP, run)
        self.assertEqual((verdict.value, verdict.reached, verdict.words), (0.5, True, "reached"))

    def test_not_reached(self) -> None:
        """A figure on the wrong side of the limit says so."""
        verdict = judge(_FAST, run_of(("ours", "echo", {"p99": 50})))
        self.assertEqual((verdict.value, verdict.words), (50, "**not reached**"))

    def test_nothing_measured(self) -> None:
        """Without one of both figures there is no verdict, but a reason."""
        verdict = judge(_CHEAP, run_of(("ours", "bulk", {"cpu": 2})))
        self.assertEqual((verdict.reached, verdict.words), (None, "theirs was not measured"))
        verdict = judge(_CHEAP, run_of(("theirs", "bulk", {"cpu": 2})))
        self.assertEqual((verdict.reached, verdict.words), (None, "ours was not measured"))

    def test_a_reference_of_nothing(self) -> None:
        """What cost the other peer nothing can't be divided by."""
        run = run_of(("ours", "bulk", {"cpu": 2}), ("theirs", "bulk", {"cpu": 0}))
        self.assertIsNone(judge(_CHEAP, run).reached)

    def test_too_few_cores(self) -> None:
        """Two workers on one core prove nothing, whatever they reach."""
        samples = ("ours", "echo", {"rate": 10}), ("two", "echo", {"rate": 19})
        verdict = judge(_WIDE, run_of(*samples))
        self.assertEqual((verdict.value, verdict.reached), (1.9, None))
        self.assertIn("needs 2 cores", verdict.words)
        self.assertTrue(judge(_WIDE, run_of(*samples, peer_cores=2)).reached)

    def test_beside(self) -> None:
        """A third peer's ratio shows what could be reached at all."""
        goal = replace(_CHEAP, beside="third")
        samples = ("ours", "bulk", {"cpu": 3}), ("theirs", "bulk", {"cpu": 4})
        self.assertEqual(judge(goal, run_of(*samples)).words, "**not reached**")
        run = run_of(*samples, ("third", "bulk", {"cpu": 1}))
        self.assertEqual(judge(goal, run).words, "**not reached** (third: 0.25)")

    def test_words(self) -> None:
        """A goal reads as its issue says it."""
        self.assertEqual(_CHEAP.words, "at most 0.5 of theirs's")
        self.assertEqual(_FAST.words, "under 50 ms")


class GoalsTests(SynchronousTestCase):
    def test_every_goal_is_of_a_peer_and_a_figure_that_exist(self) -> None:
        """A misspelt goal would for ever be "not measured"."""
        peers = {peer.name for peer in PEERS}
        shown = {(s.measure, column.figure) for s in SECTIONS for column in s.columns}
        for title, goals in GOALS:
            for goal in goals:
                self.assertIn(goal.measure, MEASURES, title)
                self.assertIn((goal.measure, goal.figure), shown, title)
                self.assertLessEqual({goal.peer, goal.reference or goal.peer}, peers, title)
