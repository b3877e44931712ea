"""The plots of a run."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.plots import draw
from tests.bench.test_results import run_of


class DrawTests(SynchronousTestCase):
    def test_a_curve_for_each_peer(self) -> None:
        """Each peer that was measured is in the legend; what cost nothing can't be drawn."""
        directory = Path(self.mktemp())
        directory.mkdir()
        run = run_of(
            ("ours", "curve", {"1_cpu_us": 80, "64_cpu_us": 20, "1_mb": 0, "64_mb": 3}),
            ("theirs", "curve", {"1_cpu_us": 90, "64_cpu_us": 95, "1_mb": 0, "64_mb": 200}),
            ("direct", "curve", {"1_cpu_us": 0, "64_cpu_us": 0}),
        )
        cpu, memory = draw(run, directory)
        for plot in (cpu, memory):
            drawn = plot.read_text()
            self.assertIn("<!-- Ours -->", drawn)
            self.assertIn("<!-- Theirs -->", drawn)
            self.assertNotIn("<!-- Direct -->", drawn)

    def test_nothing_to_draw(self) -> None:
        """A run without the measure has no plots."""
        self.assertEqual(draw(run_of(("ours", "bulk", {"mb_per_s": 1})), Path()), [])
