"""What systemd is told, read from a real socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.systemd import Notices, Supervisor


class NoticesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def listen(self, path: str) -> socket.socket:
        """Be systemd; paths are kept short by the abstract namespace."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.settimeout(10)
        return listener

    def notices(self, path: str, **environment: str) -> Notices:
        supervisor = Supervisor({"NOTIFY_SOCKET": path, **environment}, pid=7)
        return Notices(supervisor, self.clock, lambda: 90.0, lambda: "3 consoles")

    def test_a_life(self) -> None:
        """Ready when all listens, alive at half the watchdog's interval, and so to the end."""
        name = f"vncproxy-test-{os.getpid()}"
        systemd = self.listen(f"\0{name}")
        notices = self.notices(f"@{name}", WATCHDOG_USEC="30000000", WATCHDOG_PID="7")
        notices.startService()
        self.clock.advance(0)
        self.assertEqual(systemd.recv(999), b"READY=1\nSTATUS=3 consoles")
        self.clock.advance(15)
        self.assertEqual(systemd.recv(999), b"WATCHDOG=1\nSTATUS=3 consoles")
        notices.stopService()
        self.assertEqual(systemd.recv(999), b"STOPPING=1\nEXTEND_TIMEOUT_USEC=90000000")
        self.clock.advance(15)  # a drain may take long
        self.assertEqual(systemd.recv(999), b"WATCHDOG=1\nSTATUS=3 consoles")

    def test_a_reload(self) -> None:
        """A reload carries the time, as Type=notify-reload wants it."""
        path = Path(self.mktemp())
        os.symlink(path.parent.absolute(), link := f"/tmp/vncproxy-test-{os.getpid()}-dir")
        self.addCleanup(os.unlink, link)
        systemd = self.listen(f"{link}/{path.name}")
        Supervisor({"NOTIFY_SOCKET": f"{link}/{path.name}"}, 7).reloading()
        self.assertRegex(systemd.recv(999), rb"^RELOADING=1\nMONOTONIC_USEC=\d+$")

    def test_without_a_watchdog(self) -> None:
        """Another process's watchdog is not ours."""
        other = Supervisor({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, pid=7)
        self.assertEqual(other.watchdog_s, 0)

    def test_without_systemd(self) -> None:
        """Nothing is sent, and no timer runs."""
        notices = Notices(Supervisor({}, 7), self.clock, lambda: 1.0, lambda: "")
        notices.startService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        notices.stopService()

    def test_a_socket_that_is_gone(self) -> None:
        """A supervisor that does not listen any more does not hurt."""
        Supervisor({"NOTIFY_SOCKET": "/nowhere/notify"}, 7).tell("READY=1")
