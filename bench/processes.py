"""Programs under measurement: started with their output in a file, counted from /proc, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

_START_S = 60.0
_STOP_S = 15.0
_IDLE_CPU_S = 0.01  # in 0.3 s
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class CannotMeasure(Exception):
    """Something that a measure needs is not there, or did not work; the text says what."""


def divide_cores() -> tuple[set[int], set[int]]:
    """Return two halves of the cores, one for client and target, one for the peers.

    On a single core both are the same.
    """
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    return (set(cores[:half]), set(cores[half:])) if half else (set(cores), set(cores))


class Program:
    """A running program that listens on a loopback port.

    Args:
        command: the program and its arguments.
        port: it is ready as soon as this port takes connections.
        log: file for its output.
        cores: that it may run on; None for our own.
        environment: added to our own.

    Raises:
        CannotMeasure: it ended, or did not listen in time.
    """

    def __init__(
        self,
        command: list[str],
        port: int,
        log: Path,
        cores: Iterable[int] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        allowed = os.sched_getaffinity(0) if cores is None else set(cores)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, allowed),
            )
        self.tree = ProcessTree(self._process.pid)
        self._wait_until_it_listens(command[0], port, log)

    def _wait_until_it_listens(self, name: str, port: int, log: Path) -> None:
        deadline = time.monotonic() + _START_S
        while not _is_taken(port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                last = log.read_text(errors="replace").strip().splitlines()[-5:]
                raise CannotMeasure(f"{name} did not start: {' / '.join(last)}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, and whatever of its children is left then."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _is_taken(port: int) -> bool:
    """Return whether something listens, without a connection that it would have to serve."""
    wanted = f"0100007F:{port:04X}", f"00000000:{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] in wanted and fields[3] == "0A":
            return True
    return False


def wait_until_idle(tree: ProcessTree) -> None:
    """Wait until a program that listens has also ended its start: workers load for a while."""
    deadline, before = time.monotonic() + _STOP_S, -1.0
    while (now := tree.cpu_s()) - before > _IDLE_CPU_S and time.monotonic() < deadline:
        before = now
        time.sleep(0.3)


class ProcessTree:
    """What a process and all below it have used.

    Args:
        root: its process id; None for nothing at all, which uses nothing.
    """

    def __init__(self, root: int | None) -> None:
        self._root = root

    def pids(self) -> list[int]:
        """Return all living processes of the tree, the root first."""
        found = [self._root] if self._root else []
        for pid in found:
            with _gone():
                for task in Path(f"/proc/{pid}/task").iterdir():
                    with _gone():
                        found += map(int, (task / "children").read_text().split())
        return found

    def cpu_s(self) -> float:
        """Return the seconds of CPU used, user and system, by the living and by the reaped."""
        return sum(_cpu_s(pid) for pid in self.pids())

    def pss_kb(self) -> int:
        """Return the proportional set size in KiB: shared pages count in parts."""
        total = 0
        for pid in self.pids():
            with _gone():
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        return total

    def descriptors(self) -> int:
        """Return how many sockets, pipes and the like are open; files on disk do not count.

        Those are of logs and of the database's pool, which a burst may leave fuller.
        """
        total = 0
        for pid in self.pids():
            with _gone():
                for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                    with _gone():
                        total += not os.readlink(descriptor).startswith("/")
        return total


@contextlib.contextmanager
def _gone() -> Iterator[None]:
    """A process that ends while we look at it has nothing to show."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        yield


def _cpu_s(pid: int) -> float:
    # Ticks of 10 ms are too coarse for a process that lives for one session: take the scheduler's
    # nanoseconds, which know only living threads, and the ticks where those are more.
    ticks = reaped = 0
    exact_ns = 0
    with _gone():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        reaped = int(fields[13]) + int(fields[14])
        for task in Path(f"/proc/{pid}/task").iterdir():
            with _gone():
                exact_ns += int((task / "schedstat").read_text().split()[0])
    return max(exact_ns / 1e9, ticks * _TICK_S) + reaped * _TICK_S
