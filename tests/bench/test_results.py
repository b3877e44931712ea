"""Raw figures: kept whole, and reduced to medians."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.results import LeftOut, Run, Sample, read


def run_of(*samples: tuple[str, str, Mapping[str, float]], peer_cores: int = 1) -> Run:
    """Return a run of these peers, measures and figures; a repeated one is of a further round."""
    run = Run("2026-01-01", "bench", {"processor": "abacus"}, {}, peer_cores)
    for peer, measure, figures in samples:
        earlier = [s for s in run.samples if (s.peer, s.measure) == (peer, measure)]
        run.labels.setdefault(peer, peer.title())
        run.samples.append(Sample(peer, measure, len(earlier) + 1, dict(figures)))
    return run


class RunTests(SynchronousTestCase):
    def test_median_over_the_rounds(self) -> None:
        """One disturbed round moves nothing; two rounds are averaged."""
        run = run_of(("ours", "bulk", {"x": 2}), ("ours", "bulk", {"x": 900}))
        self.assertEqual(run.median("ours", "bulk", "x"), 451)
        run.samples.append(Sample("ours", "bulk", 3, {"x": 3}))
        self.assertEqual(run.median("ours", "bulk", "x"), 3)
        self.assertEqual(run.rounds(), 3)

    def test_what_was_not_measured_has_no_median(self) -> None:
        """Neither of another peer, nor of another measure or figure."""
        run = run_of(("ours", "bulk", {"x": 2}))
        self.assertIsNone(run.median("haproxy", "bulk", "x"))
        self.assertIsNone(run.median("ours", "paste", "x"))
        self.assertIsNone(run.median("ours", "bulk", "y"))

    def test_left_out_once(self) -> None:
        """The same reason in each round is one reason."""
        run = run_of()
        run.leave_out("nova", "", "not installed")
        run.leave_out("nova", "", "not installed")
        self.assertEqual(run.left_out, [LeftOut("nova", "", "not installed")])

    def test_read_what_was_written(self) -> None:
        """A file holds the whole run."""
        run = run_of(("ours", "bulk", {"x": 2.5}), ("ours", "bulk", {"x": 3}))
        run.leave_out("nova", "scale", "too big")
        path = Path(self.mktemp()) / "run.json"
        run.write(path)
        self.assertEqual(read(path), run)
