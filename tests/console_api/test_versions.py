"""Microversions: which one a request is for."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import text
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.console_api.faults import Fault
from vncproxy.console_api.versions import HIGHEST, LOWEST, Microversion, version_of


class VersionTests(SynchronousTestCase):
    def test_which_one(self) -> None:
        """The last entry for compute, else the older header's last item, else the lowest."""
        for header, older, version in (
            (None, None, LOWEST),
            ("compute 2.6", None, Microversion(2, 6)),
            ("COMPUTE 2.6", None, Microversion(2, 6)),
            ("identity 3.1, compute 2.8, compute 2.10", "2.3", Microversion(2, 10)),
            ("identity 3.1", "2.3, 2.4", Microversion(2, 4)),
            ("compute latest", None, HIGHEST),
            ("compute", None, LOWEST),
            (None, "latest", HIGHEST),
            (None, "", LOWEST),
        ):
            self.assertEqual(version_of(header, older), version, (header, older))

    def assert_refused(self, status: int, header: str) -> Fault:
        with self.assertRaises(Fault) as caught:
            version_of(header, None)
        self.assertEqual(caught.exception.status, status, header)
        fault: Fault = caught.exception
        return fault

    def test_malformed(self) -> None:
        """400, and no word of a version in the headers."""
        for wanted in ("2", "2.06", "02.6", "2.6.1", "two.six", "-2.6", "2.", "2.٣"):
            self.assertEqual(self.assert_refused(400, f"compute {wanted}").headers, {})

    def test_out_of_range(self) -> None:
        """406, and the version that was asked for in both headers."""
        for wanted in ("1.1", "2.0", "2.105", "3.0"):
            headers = self.assert_refused(406, f"compute {wanted}").headers
            self.assertEqual(headers["OpenStack-API-Version"], f"compute {wanted}")
            self.assertEqual(headers["X-OpenStack-Nova-API-Version"], wanted)

    @given(text(), text())
    def test_anything(self, header: str, older: str) -> None:
        """Whatever the headers hold, there is a version that is served, or a fault of the two."""
        try:
            self.assertTrue(LOWEST <= version_of(header, older) <= HIGHEST)
        except Fault as fault:
            self.assertIn(fault.status, (400, 406))
