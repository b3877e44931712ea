"""The page that a run becomes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench import report
from tests.bench.test_results import run_of

_RUN = run_of(
    ("direct", "bulk", {"mb_per_s": 3000, "cpu_s_per_gb": 0}),
    ("ours", "bulk", {"mb_per_s": 1234.5, "cpu_s_per_gb": 0.456}),
    ("ours", "trap", {"p50_ms": 0.25, "max_ms": 2}),
)


class TableTests(SynchronousTestCase):
    def test_numbers_as_a_person_reads_them(self) -> None:
        """Thousands apart, and digits as the column wants them."""
        self.assertEqual(report.number(1234567.8, 0), "1,234,568")
        self.assertEqual(report.number(0.456, 2), "0.46")
        self.assertEqual(report.number(None, 2), "-")

    def test_a_measure(self) -> None:
        """A row for each peer that was measured, in their order."""
        table = report.section_table(_RUN, report.SECTIONS[0]).splitlines()
        self.assertEqual(table[0], "### Bulk to the client")
        self.assertEqual(
            table[2:6],
            [
                "|  | MB/s | CPU s/GB |",
                "| --- | --: | --: |",
                "| Direct | 3,000 | 0.00 |",
                "| Ours | 1,234 | 0.46 |",
            ],
        )

    def test_no_table_of_what_was_not_measured(self) -> None:
        """A run of two measures has two tables."""
        self.assertEqual(report.tables(_RUN).count("### "), 2)


class DocumentTests(SynchronousTestCase):
    def test_everything_is_on_the_page(self) -> None:
        """Machine, goals, figures, plots, and what is missing with the reason."""
        _RUN.leave_out("ours", "scale", "too few descriptors")
        page = report.document(_RUN, ["cost.svg"])
        for part in (
            "- date: 2026-01-01",
            "- processor: abacus",
            "| Bulk to the client, MB/s | at least 0.9 of direct's | 0.411 | **not reached** |",
            "| Ours | 0.25 | 2.00 |",
            "![cost.svg](cost.svg)",
            "- Ours, scale: too few descriptors",
        ):
            self.assertIn(part, page)

    def test_goals_of_a_part(self) -> None:
        """On the terminal only what was measured is judged."""
        self.assertEqual(report.goals_table(_RUN, all_of_them=False).count("\n"), 3)
        self.assertGreater(report.goals_table(_RUN).count("\n"), 15)
