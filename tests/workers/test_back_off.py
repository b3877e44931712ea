"""How long a dead worker's place stays empty."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vncproxy.workers.back_off import BackOff


class BackOffTests(SynchronousTestCase):
    def test_one_that_served_well(self) -> None:
        """Is replaced at once."""
        self.assertEqual(BackOff().after(served_well=True), 0)

    def test_early_ends(self) -> None:
        """Are waited for longer and longer, up to a minute."""
        back_off = BackOff()
        delays = [back_off.after(served_well=False) for _ in range(9)]
        self.assertEqual(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60])

    def test_service_makes_up_for_early_ends(self) -> None:
        """After one that served well the next early end is the first again."""
        back_off = BackOff()
        for served_well in (False, False, True):
            back_off.after(served_well)
        self.assertEqual(back_off.after(served_well=False), 1)
