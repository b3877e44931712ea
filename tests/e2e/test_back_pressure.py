"""A slow reader slows the other side; the gateway does not buffer for it."""

from __future__ import annotations

import socket
import threading

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.browser import ScriptedBrowser
from tests.e2e.fake_targets import FakeTarget, read_exactly, rfb_handshake
from tests.e2e.programs import Gateway, free_port

_OFFERED = 200 * 1024 * 1024
_PIECE = bytes(64 * 1024)
_MAY_GROW_KB = 4 * 1024
_PASTE = bytes(range(256)) * (128 * 1024)


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

    def test_a_paste_in_one_message(self) -> None:
        """However large it is, it arrives, and the gateway holds only what the sockets take."""
        for splice in ("epoll", "portable"):
            go_on, arrived = threading.Event(), list[bytes]()

            def slow(
                connection: socket.socket,
                go_on: threading.Event = go_on,
                arrived: list[bytes] = arrived,
            ) -> None:
                rfb_handshake(connection)
                go_on.wait(60)
                arrived.append(read_exactly(connection, len(_PASTE)))
                connection.sendall(b"taken")

            self.gateway = Gateway({"splice": splice})
            self.addCleanup(self.gateway.stop)
            browser = self.open(FakeTarget(slow))
            before = self.gateway.memory_kb
            writer = threading.Thread(target=browser.write, args=(_PASTE,), daemon=True)
            writer.start()
            writer.join(1)
            self.assertTrue(writer.is_alive(), "all was taken for a server that reads nothing")
            self.assertLess(self.gateway.memory_kb - before, _MAY_GROW_KB)
            go_on.set()
            self.assertEqual(browser.read(5), b"taken")
            self.assertEqual(arrived, [_PASTE])
            self.assertLess(self.gateway.memory_kb - before, _MAY_GROW_KB)
            writer.join(60)
            browser.socket.close()

    def test_a_paste_of_text_into_a_serial_console(self) -> None:
        """What a dashboard's page sends as one text message, beyond the megabyte."""
        port = free_port()
        self.gateway = Gateway(
            {"consoles": "novnc, serial"}, more=f"[serial_console]\nserialproxy_port = {port}\n"
        )
        self.addCleanup(self.gateway.stop)
        self.gateway.program.wait_for(f"listening on tcp:{port}:")
        text = "zeile für zeile\r" * 200_000
        arrived = list[bytes]()

        def machine(connection: socket.socket) -> None:
            arrived.append(read_exactly(connection, len(text.encode())))
            connection.sendall(b"$ ")

        target = FakeTarget(machine)
        self.addCleanup(target.stop)
        url = self.gateway.console_url(target.port, "--type=serial")
        with ScriptedBrowser(url) as console:
            console.socket.send(text)
            self.assertEqual(console.read(2), b"$ ")
        self.assertEqual(arrived, [text.encode()])
