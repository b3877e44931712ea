"""A slow reader slows the other side; the gateway does not buffer for it."""

from __future__ import annotations

import socket
import threading

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.browser import ScriptedBrowser
from tests.e2e.fake_targets import FakeTarget, read_exactly, rfb_handshake
from tests.e2e.programs import Gateway

_OFFERED = 200 * 1024 * 1024
_PIECE = bytes(64 * 1024)
_MAY_GROW_KB = 4 * 1024


class BackPressureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.addCleanup(self.gateway.stop)

    def open(self, target: FakeTarget) -> ScriptedBrowser:
        self.addCleanup(target.stop)
        browser = ScriptedBrowser(self.gateway.console_url(target.port))
        browser.open_console()
        return browser

    def test_a_browser_that_does_not_read(self) -> None:
        """Of 200 MB of pictures the gateway takes what the sockets hold, until they are read."""
        stuck, sent = threading.Event(), [0]

        def flood(connection: socket.socket) -> None:
            rfb_handshake(connection)
            read_exactly(connection, 1)
            connection.settimeout(1)
            while sent[0] < _OFFERED:
                try:
                    sent[0] += connection.send(_PIECE)
                except TimeoutError:
                    stuck.set()
                    connection.settimeout(20)

        browser = self.open(FakeTarget(flood))
        before = self.gateway.memory_kb
        browser.write(b"!")
        self.assertTrue(stuck.wait(20), "the gateway read on and on")
        self.assertLess(sent[0], 64 * 1024 * 1024)
        self.assertLess(self.gateway.memory_kb - before, _MAY_GROW_KB)
        left = _OFFERED
        while left:
            left -= len(browser.read(min(left, 1 << 20)))
        browser.socket.close()
        self.gateway.program.wait_for(f"{_OFFERED + 28} bytes to the client")

    def test_a_server_that_does_not_read(self) -> None:
        """The same for what is pasted into a machine that takes nothing."""
        go_on = threading.Event()

        def deaf(connection: socket.socket) -> None:
            rfb_handshake(connection)
            go_on.wait(20)
            read_exactly(connection, 32 * 1024 * 1024)
            connection.sendall(b"taken")

        browser = self.open(FakeTarget(deaf))
        before = self.gateway.memory_kb

        def paste() -> None:
            for _ in range(512):
                browser.write(_PIECE)

        writer = threading.Thread(target=paste, daemon=True)
        writer.start()
        writer.join(1)
        self.assertTrue(writer.is_alive(), "everything was taken for a server that reads nothing")
        self.assertLess(self.gateway.memory_kb - before, _MAY_GROW_KB)
        go_on.set()
        self.assertEqual(browser.read(5), b"taken")
        writer.join(20)
        browser.socket.close()
