"""`twistd`, forked from a process that has imported already what a gateway needs.

To import it takes most of the time, and of the processor, that a gateway needs to start; the tests
start some hundreds.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

# The reactor is not among it: each process makes its own.
_IMPORTS = [__name__, "vncproxy.tap", "twisted.scripts.twistd", "sqlalchemy.dialects.sqlite"]


class ForkedTwistd:
    """A process that runs `twistd`, with what tests use of ``subprocess.Popen``.

    Args:
        arguments: of twistd's command line.
    """

    def __init__(self, arguments: list[str]) -> None:
        reading, writing = os.pipe()
        self.stdout: IO[str] | None = os.fdopen(reading, errors="replace")
        self._process = _context().Process(
            target=_run_twistd, args=(arguments, os.getcwd(), dict(os.environ), DupFd(writing))
        )
        try:
            self._process.start()
        finally:
            os.close(writing)
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Wait for its end; return the exit status."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("twistd", timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


@cache
def _context() -> ForkServerContext:
    """Start the process that all are forked from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTS)
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # where it finds this module
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return context


def _run_twistd(
    arguments: list[str],
    directory: str,
    environment: dict[str, str],
    output: Any,  # noqa: ANN401  a DupFd, which has no public type
) -> None:
    """Become what a shell would have started."""
    descriptor = output.detach()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["twistd", *arguments]
    from twisted.scripts.twistd import run

    try:
        run()
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out
