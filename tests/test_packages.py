"""The Debian packages that the Makefile asks for exist, whatever is installed here already."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.programs import require

_CHECKOUT = Path(__file__).parents[1]
_MIRROR = "http://deb.debian.org/debian"
_SUITES = {"debian-12": "bookworm", "debian-13": "trixie"}
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class PackageNamesTests(SynchronousTestCase):
    """Apt knows every name, in each supported release, on a machine with nothing installed."""

    def apt(self, *arguments: str) -> str:
        done = subprocess.run(
            [*("apt-get", "-qq"), *self.options, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def look_at(self, suite: str) -> None:
        """Let apt know this suite alone, and think that nothing is installed."""
        root = Path(self.mktemp()).absolute()
        for directory in ("lists/partial", "cache/archives/partial", "etc"):
            (root / directory).mkdir(parents=True)
        sources = root / "sources.list"
        sources.write_text(f"deb [signed-by={_KEYRING}] {_MIRROR} {suite} main\n")
        (root / "status").touch()
        settings = {
            "Dir::State::lists": root / "lists",
            "Dir::State::status": root / "status",
            "Dir::Cache": root / "cache",
            "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": root / "etc",
            "Dir::Etc::PreferencesParts": root / "etc",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
            "Debug::NoLocking": "1",
        }
        self.options = [f"-o{name}={value}" for name, value in settings.items()]

    def test_each_release(self) -> None:
        """One unknown name would make apt refuse the whole list."""
        require("apt-get", "make", str(_KEYRING))
        for release, suite in _SUITES.items():
            self.look_at(suite)
            self.apt("update")
            names = subprocess.run(
                ["make", "--no-print-directory", "-s", f"RELEASE={release}", "package-names"],
                cwd=_CHECKOUT,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
            self.assertIn("chromium", names)
            planned = self.apt("install", "--simulate", "--no-install-recommends", *names)
            installed = {line.split()[1] for line in planned.splitlines() if line[:5] == "Inst "}
            self.assertEqual(set(names) - installed, set(), release)
