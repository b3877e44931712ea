"""The file of targets: whose password is whose, and faults that never repeat one."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.errors import SecurityFailed
from vncproxy.model import Credentials
from vncproxy.targets_file import TargetOptions, TargetsFile

_SAMPLE = """
[10.0.0.5:5901]
password = with spaces, % and # signs

[[fd00::7]:5900]
password = six

[*.lab.example:*]
username = kim
password = other
tls = yes
"""


class TargetsFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.targets = TargetsFile(str(self.path))

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def fault(self) -> str:
        with self.assertRaises(SecurityFailed) as caught:
            self.targets.options_for("h:1")
        self.assertNotIn("s3cret", "".join(traceback.format_exception(caught.exception)))
        return str(caught.exception)

    def test_the_first_section_that_fits(self) -> None:
        """By address, by pattern, or none."""
        self.write(_SAMPLE)
        exact = self.targets.options_for("10.0.0.5:5901")
        self.assertEqual(exact, TargetOptions(Credentials("with spaces, % and # signs")))
        lab = self.targets.options_for("node3.lab.example:5900")
        self.assertEqual(lab, TargetOptions(Credentials("other", "kim"), tls=True))
        self.assertEqual(self.targets.options_for("10.0.0.5:5902"), TargetOptions())

    def test_no_file(self) -> None:
        """Without the option nothing is known of any server."""
        self.assertEqual(TargetsFile(None).options_for("h:1"), TargetOptions())

    def test_it_is_read_again(self) -> None:
        """When it has changed, and only then."""
        self.write("[*]\npassword = one\n")
        self.assertEqual(self.targets.options_for("h:1").credentials, Credentials("one"))
        self.write("[*]\npassword = second\n")
        self.assertEqual(self.targets.options_for("h:1").credentials, Credentials("second"))
        os.utime(self.path, ns=(1, 1))
        self.assertEqual(self.targets.options_for("h:1").credentials, Credentials("second"))

    def test_faults(self) -> None:
        """Each names the file and the place, and nothing that stands there."""
        self.assertIn("No such file", self.fault())
        for text, words in (
            ("[*]\ns3cret\n", "line 2"),
            ("s3cret = x\n", "line 1"),
            ("[*]\npassword = s3cret\npasswort = s3cret\n", "is none of password, tls, username"),
            ("[*]\ntls = s3cret\n", "tls is neither yes nor no"),
            ("[*]\npassword = a\npassword = s3cret\n", "line 3"),
        ):
            self.write(text)
            fault = self.fault()
            self.assertIn(str(self.path), fault)
            self.assertIn(words, fault)

    @given(st.text(max_size=60))
    def test_anything(self, text: str) -> None:
        """Whatever the file holds, it is understood or refused."""
        path = Path(self.mktemp())
        path.write_text(text, encoding="utf-8", errors="ignore")
        try:
            TargetsFile(str(path)).options_for("h:1")
        except SecurityFailed as error:
            self.assertIn("targets_file", str(error))
