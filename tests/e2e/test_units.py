"""systemd's units: systemd itself finds nothing wrong with them, and says how exposed they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.programs import require

_ROOT = Path(__file__).parents[2]


class UnitTests(SynchronousTestCase):
    def setUp(self) -> None:
        require("systemd-analyze")
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        self.service = directory / "vncproxy.service"
        self.socket = directory / "vncproxy.socket"
        text = (_ROOT / "conf/vncproxy.service").read_text()
        self.assertIn("/opt/vncproxy/bin/twistd", text)
        twistd = str(Path(sys.executable).with_name("twistd"))
        self.service.write_text(text.replace("/opt/vncproxy/bin/twistd", twistd))
        self.socket.write_text((_ROOT / "conf/vncproxy.socket").read_text())

    def analyze(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["systemd-analyze", "--no-pager", *(str(argument) for argument in arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def test_verify(self) -> None:
        """Every line is one that systemd knows."""
        template = self.service.with_name("vncproxy@a.service")
        template.write_text(self.service.read_text())
        done = self.analyze("verify", self.service, template, self.socket)
        about_ours = [line for line in done.stdout.splitlines() if "vncproxy" in line]
        self.assertEqual((done.returncode, about_ours), (0, []))

    def test_exposure(self) -> None:
        """The documents name the exposure that systemd finds."""
        done = self.analyze("security", "--offline=yes", self.service)
        level = re.search(r"Overall exposure level for vncproxy.service: (\S+)", done.stdout)
        assert level is not None, done.stdout
        self.assertLess(float(level[1]), 2.0)
        self.assertIn(f"exposure {level[1]}", (_ROOT / "docs/operations.md").read_text())
