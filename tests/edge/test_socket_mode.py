"""Modes of the UNIX sockets that are listened on."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

from twisted.internet import unix
from twisted.internet.protocol import Factory
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from vncproxy.edge.socket_mode import wider_mode, with_mode
from vncproxy.listener import Listener, endpoint_from


def mode_of(path: Path | str) -> int:
    """Return a file's rights."""
    return stat.S_IMODE(os.stat(path).st_mode)


class EndpointStringTests(SynchronousTestCase):
    def test_a_mode_is_added(self) -> None:
        """To UNIX sockets that have none, and to nothing else."""
        for endpoint in (
            *("unix:/run/a.sock", r"unix:/run/a\:b.sock", "unix:address=/run/a.sock"),
            *("unix:/run/a.sock:backlog=9", "unix:/run/a.sock:lockfile=0", r"unix:/a\=mode"),
            r"unix:/run/a\\",
        ):
            self.assertEqual(with_mode(endpoint), f"{endpoint}:mode=660")
        for endpoint in (
            *("unix:/run/a.sock:mode=600", "unix:/run/a.sock:666", "unix:mode=666:address=/a"),
            *("unix:/a:lockfile=0:mode=660", "tcp:6080", "systemd:domain=UNIX:index=0", ""),
        ):
            self.assertEqual(with_mode(endpoint), endpoint)

    def test_wider_modes(self) -> None:
        """Those by which people of neither owner nor group may connect."""
        for endpoint, mode in (
            *(("unix:/a:mode=666", "666"), ("unix:/a:777", "777"), ("unix:/a:mode=662", "662")),
            *(("unix:/a", None), ("unix:/a:mode=660", None), ("unix:/a:mode=600", None)),
            *(("unix:/a:mode=664", None), ("unix:/a:mode=x", None), ("tcp:666", None)),
        ):
            self.assertEqual(wider_mode(endpoint), mode, endpoint)


class ListenerTests(TestCase):
    def setUp(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.modes_at_listen: list[int] = []
        modes = self.modes_at_listen

        class Socket(socket.socket):
            def listen(self, backlog: int = 50, /) -> None:
                modes.append(mode_of(self.getsockname()))
                super().listen(backlog)

        def create_socket(_port: unix.Port) -> socket.socket:
            made = Socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.setblocking(False)
            return made

        self.patch(unix.Port, "createInternetSocket", create_socket)

    def listen(self, description: str, path: Path) -> int:
        """Listen, and return the socket's mode."""
        from twisted.internet import reactor

        factory = Factory()
        factory.noisy = False
        listener = Listener(description, endpoint_from(reactor, description), factory)
        listener.privilegedStartService()
        listener.startService()
        self.addCleanup(listener.stopService)
        return mode_of(path)

    def warnings(self) -> list[str]:
        events = [event for event in self.log if event["log_level"] is LogLevel.warn]
        return [event["log_format"].format(**event) for event in events]

    def test_unless_it_says_otherwise(self) -> None:
        """Owner and group may connect, from the first moment in which anybody can."""
        words = ("", "https:", "haproxy:", "haproxy:https:")
        for number, word in enumerate(words):
            path = self.directory / f"{number}.sock"
            self.assertEqual(self.listen(f"{word}unix:{path}", path), 0o660)
        self.assertEqual(self.modes_at_listen, [0o660] * len(words))
        self.assertEqual(self.warnings(), [])

    def test_a_wider_mode(self) -> None:
        """It is what was asked for, and warned of."""
        path = self.directory / "http.sock"
        self.assertEqual(self.listen(f"unix:{path}:mode=666", path), 0o666)
        (line,) = self.warnings()
        self.assertIn(f"every user of this machine may connect to {path} (mode 0666)", line)
