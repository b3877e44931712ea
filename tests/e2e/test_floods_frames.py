"""Floods of frames, in full speed and from several clients: what they cost everybody else."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.certificates import write_certificate
from tests.e2e.fake_targets import FakeTarget, echo, rfb_handshake, silent
from tests.e2e.pressure import Pressure
from tests.e2e.programs import Gateway, becomes_true, free_port
from tests.e2e.raw_client import MASK, RawClient
from tests.helpers import ws_frame

_BLOCK_BYTES = 128 * 1024  # what the gateway may read at once
_FLOODS = 3
_MAY_GROW_KB = 8 * 1024
_USUAL_MS = 50
_ANSWERS = 10
_PATIENCE_S = 30
_RECORD_BYTES = 16 * 1024  # of TLS
_UNREAD = 4096  # a receive buffer that is full at once
_WORDS = b"The client sends too many frames with nothing in them."

_PING = ws_frame(b"", MASK, 0x89)
_LONG_PING = ws_frame(bytes(125), MASK, 0x89)
_EMPTY = ws_frame(b"", MASK)
_KEY = ws_frame(b"k", MASK)
_FRAGMENT = ws_frame(b"k", MASK, 0x00)


def block_of(frame: bytes) -> bytes:
    """Return as many of a frame as are read at once."""
    return frame * (_BLOCK_BYTES // len(frame))


def send_all(client: RawClient, data: bytes) -> None:
    """Send it, waiting for the gateway where it does not read; OSError at the connection's end."""
    while data:
        try:
            data = data[client.socket.send(data[:_RECORD_BYTES]) :]
        except BlockingIOError:
            select.select([], [client.socket], [], _PATIENCE_S)


class FramesTestCase(SynchronousTestCase):
    """A gateway with a VNC console that takes everything, and one of a serial port."""

    def start(self, splice: str, tls: bool) -> None:
        cert = Path(self.mktemp()).absolute() if tls else None
        if cert is not None:
            write_certificate(cert)
        serial_port = free_port()
        self.gateway = Gateway(
            {"consoles": "novnc, serial", "splice": splice, "max_sessions_per_token": 0},
            cert=cert,
            more=f"[serial_console]\nserialproxy_port = {serial_port}\n",
        )
        self.addCleanup(self.gateway.stop)
        self.gateway.program.wait_for(rf"listening on \S*tcp:{serial_port}:")
        self.vnc = self.target(self._takes_everything)
        self.serial = self.target(silent)
        self.honest = self.target(echo)

    def target(self, script: object) -> int:
        target = FakeTarget(script)  # type: ignore[arg-type]  # one of fake_targets
        self.addCleanup(target.stop)
        return target.port

    @staticmethod
    def _takes_everything(connection: socket.socket) -> None:
        rfb_handshake(connection)
        silent(connection)

    @contextlib.contextmanager
    def flood(self, url: str, block: bytes, opens: bool, begin: bytes = b"") -> Iterator[None]:
        """Send a block again and again, on several connections that read nothing."""
        clients = [RawClient(url, _UNREAD, opens=opens) for _ in range(_FLOODS)]
        over = threading.Event()

        def pour(client: RawClient) -> None:
            with contextlib.suppress(OSError):
                send_all(client, begin)
                while not over.is_set():
                    send_all(client, block)

        threads = [threading.Thread(target=pour, args=(client,), daemon=True) for client in clients]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for client in clients:
                with contextlib.suppress(OSError):
                    client.socket.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(_PATIENCE_S)
            for client in clients:
                client.close()

    def assert_harmless(
        self, url: str, frame: bytes, opens: bool = True, begin: bytes = b""
    ) -> None:
        """Flood: others are answered soon, memory is bounded, and a console opens meanwhile."""
        honest = self.gateway.console_url(self.honest)
        with Pressure(self.gateway) as pressure:
            with self.flood(url, block_of(frame), opens, begin):
                pressure.wait_for_answers(_ANSWERS)
                self.assert_opens(honest)
                pressure.wait_for_answers(_ANSWERS)
            grown_kb, usual_ms = pressure.grown_kb, pressure.usual_answer_ms
        self.assertLess(grown_kb, _MAY_GROW_KB)
        self.assertLess(usual_ms, _USUAL_MS)

    def assert_opens(self, url: str) -> None:
        """Open a console that sends back what it is sent."""
        client = RawClient(url)
        server_init = client.read_frame()
        client.send(b"are you there?")
        self.assertEqual(client.read_frame(), (0x82, b"are you there?"), server_init)
        client.close()

    def read_close(self, client: RawClient) -> bytes:
        """Return the payload of the Close frame that a client is sent."""
        while True:
            first, payload = client.read_frame()
            if first == 0x88:
                return payload

    def check_all(self) -> None:
        """Send every kind of flood, to every kind of listener."""
        vnc = self.gateway.console_url(self.vnc)
        serial = self.gateway.console_url(self.serial, "--type=serial")
        unknown = vnc[:-36] + str(uuid.uuid4())
        for frame in (_PING, _LONG_PING, _EMPTY, _KEY):
            self.assert_harmless(vnc, frame)
        self.assert_harmless(vnc, _LONG_PING, opens=False)
        self.assert_harmless(vnc, _FRAGMENT, begin=ws_frame(b"k", MASK, 0x02))
        for frame in (_LONG_PING, _KEY, ws_frame(b"k", MASK, 0x81)):
            self.assert_harmless(serial, frame, opens=False)
        for frame in (_PING, _LONG_PING, _KEY):
            self.assert_harmless(unknown, frame, opens=False)
        for url, opens, frame in ((vnc, True, _PING), (serial, False, _EMPTY), (vnc, False, _PING)):
            client = RawClient(url, opens=opens)
            self.addCleanup(client.close)
            send_all(client, frame * 3000)
            self.assertEqual(self.read_close(client), b"\x03\xf0" + _WORDS)
        self.gateway.program.wait_for("client-flood")
        self.assertNotIn("Traceback", self.gateway.log)
        self.assertTrue(becomes_true(lambda: self.gateway.log.count(" opens: ") == self.ended()))

    def ended(self) -> int:
        """Return how many sessions have ended."""
        return self.gateway.log.count(" ended after ")


class EngineTests(FramesTestCase):
    def test_plain(self) -> None:
        """On the engine."""
        self.start("auto", tls=False)
        self.check_all()

    def test_tls(self) -> None:
        """On the engine, in TLS."""
        self.start("auto", tls=True)
        self.check_all()


class PortableTests(FramesTestCase):
    def test_plain(self) -> None:
        """On the portable path."""
        self.start("portable", tls=False)
        self.check_all()

    def test_tls(self) -> None:
        """On the portable path, in TLS."""
        self.start("portable", tls=True)
        self.check_all()
