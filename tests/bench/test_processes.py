"""What a process tree has used, counted on real processes."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from bench.processes import ProcessTree

_BUSY = """
import sys, time
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
"""
_WAITS = """
memory = bytearray(b"x" * 30_000_000)
print("ready", flush=True)
sys.stdin.readline()
"""
# Two children are busy: one has ended and was reaped, the other waits, and so does their parent.
_FAMILY = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {_BUSY!r}])
child = subprocess.Popen([sys.executable, "-c", {_BUSY + _WAITS!r}], stdout=subprocess.PIPE)
print(child.stdout.readline().decode(), end="", flush=True)
sys.stdin.readline()
"""


class ProcessTreeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.family = subprocess.Popen(
            [sys.executable, "-c", _FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.addCleanup(self.family.communicate)
        assert self.family.stdout is not None
        self.assertEqual(self.family.stdout.readline(), b"ready\n")
        self.tree = ProcessTree(self.family.pid)

    def test_children_count(self) -> None:
        """CPU of the living and of the reaped; memory and descriptors of the living."""
        self.assertEqual(len(self.tree.pids()), 2)
        self.assertGreater(self.tree.cpu_s(), 0.6)
        self.assertLess(self.tree.cpu_s(), 3)
        self.assertGreater(self.tree.pss_kb(), 30_000_000 / 1024)
        self.assertGreaterEqual(self.tree.descriptors(), 4)  # its pipes, and its child's

    def test_nothing(self) -> None:
        """Where there is no process nothing is used; where it has ended too."""
        for tree in (ProcessTree(None), self.tree):
            self.family.communicate()
            self.assertEqual((tree.cpu_s(), tree.pss_kb(), tree.descriptors()), (0, 0, 0))
