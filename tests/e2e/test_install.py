"""The package as users get it: a wheel in an empty virtual environment."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.programs import Program, free_port, novnc_directory

_CHECKOUT = Path(__file__).parents[2]


def run(*command: str | Path) -> str:
    """Run a command to its end; return its output, or fail with it."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class InstallTests(SynchronousTestCase):
    def test_a_wheel(self) -> None:
        """Twistd finds the plugin, the page's files are there, and a gateway runs."""
        directory = Path(self.mktemp()).absolute()
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", directory, _CHECKOUT)
        (wheel,) = directory.glob("vncproxy-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
        self.assertIn("twisted/plugins/vncproxy_plugin.py", names)
        self.assertIn("vncproxy/web/page/console.js", names)
        self.assertFalse({name for name in names if name.startswith("tests")})
        self.assertNotIn("twisted/__init__.py", names)
        self.assertNotIn("twisted/plugins/__init__.py", names)

        venv.create(directory / "venv", with_pip=True)
        python = directory / "venv/bin/python"
        run(python, "-m", "pip", "install", "-q", f"{wheel}[demo]")
        self.assertIn("vncproxy", run(directory / "venv/bin/twistd", "--help"))
        self.assertIn("token", run(directory / "venv/bin/vncproxy", "--help"))
        gateway = Program(
            [
                *(str(directory / "venv/bin/twistd"), "-n", "--pidfile=", "vncproxy"),
                *("--vncproxy-demo", f"--vncproxy-state_path={directory}/state"),
                *(f"--vnc-novncproxy_port={free_port()}", f"--web={novnc_directory()}"),
            ]
        )
        self.addCleanup(gateway.stop)
        gateway.wait_for(r"http://127\.0\.0\.1:\d+/console\?path=%3Ftoken%3D")

    def test_the_checkout_s_own_installation(self) -> None:
        """`pip install -e .`, as `make` does it, lets twistd find the plugin too."""
        twistd = (
            "import sys; from twisted.scripts.twistd import run; sys.argv[1:] = ['--help']; run()"
        )
        self.assertIn("vncproxy", run(sys.executable, "-c", twistd))
