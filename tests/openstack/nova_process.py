"""Nova's own code, of two releases, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.e2e.programs import cannot_test

_SIDE = Path(__file__).with_name("nova_side.py")
# The oldest is Debian's, which also has the proxies to compare with; the newest is the Makefile's.
OLDEST = "/usr/bin/python3"
NEWEST = os.environ.get(
    "VNCPROXY_NOVA_PYTHON", str(Path(__file__).parents[2] / ".cache/nova/bin/python")
)


class Nova:
    """Nova of one release; see ``nova_side`` for what it can do.

    Args:
        python: that has this release.
        config_file: its nova.conf.
    """

    def __init__(self, python: str, config_file: Path) -> None:
        require_nova(python)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  as long as the process
        self._process = subprocess.Popen(
            [python, "-W", "ignore", str(_SIDE), str(config_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._one_at_a_time = threading.Lock()
        self.version: str = self._answer()["ready"]

    def do(self, name: str, /, **arguments: object) -> Any:  # noqa: ANN401  JSON
        """Let nova do something, and return what came of it."""
        assert self._process.stdin is not None
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps({"do": name, **arguments}) + "\n")
            self._process.stdin.flush()
            answer = self._answer()
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise AssertionError(f"nova ended:\n{self._errors.read()[-4000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End its process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def require_nova(python: str) -> None:
    """Skip the test, or fail it, where this Python has no nova."""
    if subprocess.run([python, "-c", "import nova"], check=False, stderr=-1).returncode:
        cannot_test(f"no nova for {python}; see the Makefile")
