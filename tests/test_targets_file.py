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

[unix:/run/consoles/*.sock]
password = socket

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
            self.targets.options_for("h", 1)
        self.assertNotIn("s3cret", "".join(traceback.format_exception(caught.exception)))
        return str(caught.exception)

    def test_the_first_section_that_fits(self) -> None:
        """By address, by pattern, or none."""
        self.write(_SAMPLE)
        exact = self.targets.options_for("10.0.0.5", 5901)
        self.assertEqual(exact, TargetOptions(Credentials("with spaces, % and # signs")))
        lab = self.targets.options_for("node3.lab.example", 5900)
        self.assertEqual(lab, TargetOptions(Credentials("other", "kim"), tls=True))
        self.assertEqual(self.targets.options_for("10.0.0.5", 5902), TargetOptions())

    def password_of(self, host: str, port: int) -> str | None:
        credentials = self.targets.options_for(host, port).credentials
        return credentials.password if credentials else None

    def test_one_host_by_all_its_names(self) -> None:
        """An address in any spelling, a host's name in any case, with the root's dot or without."""
        self.write(_SAMPLE)
        for host in ("fd00::7", "FD00::7", "fd00:0:0::7", "fd00:0000:0000:0000:0000:0000:0:0007"):
            self.assertEqual(self.password_of(host, 5900), "six", host)
            self.assertIsNone(self.password_of(host, 5901))
        self.assertEqual(self.password_of("NODE3.Lab.Example", 1), "other")
        self.write("[[FD00:0::0007]:*]\npassword = six\n[Lab:5900]\npassword = lab\n")
        self.assertEqual(self.password_of("fd00::7", 1), "six")
        for host in ("lab", "LAB", "lab."):
            self.assertEqual(self.password_of(host, 5900), "lab")
        self.write("[10.0.0.5:*]\npassword = four\n[[::ffff:10.0.0.6]:*]\npassword = mapped\n")
        for host in ("10.0.0.5", "::ffff:10.0.0.5", "::FFFF:a00:5"):
            self.assertEqual(self.password_of(host, 1), "four", host)
        self.assertEqual(self.password_of("10.0.0.6", 1), "mapped")

    def test_unix_sockets(self) -> None:
        """By path, with ``*`` in it; the word ``unix:`` may be left out."""
        self.write(_SAMPLE)
        self.assertEqual(self.password_of("/run/consoles/vm1.sock", 0), "socket")
        for path in ("/run/consoles/VM1.SOCK", "/run/consoles", "/run/other/vm1.sock"):
            self.assertIsNone(self.password_of(path, 0), path)
        self.write("[/run/vm[12].sock]\npassword = brackets\n")
        self.assertEqual(self.password_of("/run/vm[12].sock", 0), "brackets")
        self.assertIsNone(self.password_of("/run/vm1.sock", 0))

    def test_only_the_star_is_special(self) -> None:
        """It stands for any characters, and a lone one for every server."""
        self.write("[vm*:59*]\npassword = some\n[*]\npassword = every\n")
        self.assertEqual(self.password_of("vm12", 5900), "some")
        for host, port in (("vm12", 6900), ("x", 5900), ("fd00::1", 1), ("/run/s", 0)):
            self.assertEqual(self.password_of(host, port), "every", host)

    def test_sections_that_fit_no_server(self) -> None:
        """Each is a fault at its line: its password and its TLS would be missed silently."""
        for name in (
            *("host", "10.0.0.5", ":5900", "host:", "host:http", "host:0", "host:65536"),
            *("host:5900x", "host:123456", "host:-1", "ho st:1", "vm?:1", "vm[12]:1", "a/b:1"),
            *("fd00::1:5901", "fd00::1", "[fd00::1]", "[fd00::g]:1", "[fd00::1]:0", "[]:1"),
            *("[10.0.0.5]:1", "[fd00:*]:1", "[fd00::1:5901", "unix:", "unix:run/s", "unix:*"),
            "h:1] ; [x",
        ):
            self.write(f"[h:1]\npassword = x\n\n[{name}]\npassword = s3cret\ntls = yes\n")
            self.assertIn("line 4: ", self.fault(), name)

    def test_a_byte_order_mark(self) -> None:
        """An editor's mark at the beginning is no text."""
        self.path.write_text("[h:1]\npassword = x\n", encoding="utf-8-sig")
        self.assertEqual(self.password_of("h", 1), "x")

    def test_no_file(self) -> None:
        """Without the option nothing is known of any server."""
        self.assertEqual(TargetsFile(None).options_for("h", 1), TargetOptions())

    def test_it_is_read_again(self) -> None:
        """When it has changed, and only then."""
        self.write("[*]\npassword = one\n")
        self.assertEqual(self.targets.options_for("h", 1).credentials, Credentials("one"))
        self.write("[*]\npassword = second\n")
        self.assertEqual(self.targets.options_for("h", 1).credentials, Credentials("second"))
        os.utime(self.path, ns=(1, 1))
        self.assertEqual(self.targets.options_for("h", 1).credentials, Credentials("second"))

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
            TargetsFile(str(path)).options_for("h", 1)
        except SecurityFailed as error:
            self.assertIn("targets_file", str(error))
