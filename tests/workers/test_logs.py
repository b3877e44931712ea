"""The log of several processes: each line names its worker."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.logs import GatewayLog


class WorkersLogTests(SynchronousTestCase):
    def line(self, worker: int | None, use_json: bool, text: str = "[text]") -> str:
        path = Path(self.mktemp())
        observer = GatewayLog(str(path), use_json, debug=False, worker=worker)
        Logger("vncproxy.test", observer=LogPublisher(observer)).info("{text}", text=text)
        return path.read_text()

    def test_text(self) -> None:
        """The number stands before the logger's name."""
        self.assertTrue(self.line(2, False).endswith(" [worker 2 vncproxy.test#info] [text]\n"))
        self.assertTrue(self.line(None, False).endswith(" [vncproxy.test#info] [text]\n"))

    def test_what_a_terminal_obeys(self) -> None:
        """Is written out, and a further line is indented: nobody's name can be an event's line."""
        line = self.line(None, False, "a\x1b[2J\x9b1m\r\x00\tb\n2026 [c]")
        self.assertTrue(line.endswith("a\\x1b[2J\\x9b1m\\x0d\\x00\tb\n\t2026 [c]\n"), line)
        message = json.loads(self.line(None, True, "a\x1b[2J"))["message"]
        self.assertEqual(message, "a\x1b[2J")

    def test_a_new_file(self) -> None:
        """Its owner's and its group's, whatever the umask; one that is there keeps its mode."""
        self.addCleanup(os.umask, os.umask(0))
        path = Path(self.mktemp())
        GatewayLog(str(path), False, debug=False)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640)
        path.chmod(0o644)
        GatewayLog(str(path), False, debug=False)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o644)

    def test_json(self) -> None:
        """It is a field of its own."""
        self.assertEqual(json.loads(self.line(2, True))["worker"], 2)
        self.assertNotIn("worker", json.loads(self.line(None, True)))
