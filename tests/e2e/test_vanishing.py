"""Whoever vanishes: what is held for them is gone within seconds, and what they sent arrives."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.fake_targets import SERVER_INIT
from tests.e2e.plays import CLOSE, PATIENCE_S, Side, unacknowledged
from tests.e2e.programs import becomes_true
from tests.e2e.raw_client import MASK
from tests.e2e.stage import STAGES, Stage
from tests.e2e.tls_socket import TlsSocket
from tests.helpers import ws_frame

_PAIRS = 40
_GONE_S = 3.0
_CLOSE_S = 13.0  # for clients that do not answer a Close: ten, and some on a busy machine
_MOST_CPU_S = 2.0  # of the gateway for all of them, until they are gone
_PICTURE = bytes(1 << 16)


class Flood:
    """Sends at full speed on each of some connections, and reads nothing, until they break.

    Args:
        connections: each of them open.
        piece: what is sent again and again.
    """

    def __init__(self, connections: list[socket.socket | TlsSocket], piece: bytes) -> None:
        self._left = dict.fromkeys(connections, b"")
        self._piece = piece
        for connection in connections:
            connection.setblocking(False)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._over.set()
        self._thread.join(PATIENCE_S)

    def _send(self) -> None:
        while not self._over.is_set() and self._left:
            _, ready, _ = select.select([], list(self._left), [], 0.1)
            for connection in ready:
                data = self._left[connection] or self._piece
                try:
                    self._left[connection] = data[connection.send(data) :]
                except BlockingIOError:
                    continue
                except OSError:
                    del self._left[connection]


class VanishingTestCase(SynchronousTestCase):
    """A gateway that many are connected to, and how it fares."""

    stage = "engine"

    def setUp(self) -> None:
        self._stage = Stage(*STAGES[self.stage])
        self.addCleanup(self._stage.close)
        self.gateway = self._stage.gateway

    def cpu_s(self) -> float:
        """Return the seconds of CPU that the gateway has used."""
        fields = Path(f"/proc/{self.gateway.program.pid}/stat").read_text().split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    def flood(self, connections: list[socket.socket | TlsSocket], piece: bytes) -> None:
        """Send on all of them until nobody takes anything any more."""
        flood = Flood(connections, piece)
        self.addCleanup(flood.stop)
        self.assertTrue(becomes_true(lambda: self.gateway.sockets() >= 2 * _PAIRS))
        begun = self.cpu_s()
        while True:
            time.sleep(0.2)
            now = self.cpu_s()
            if now == begun:
                return
            begun = now


class EngineTests(VanishingTestCase):
    """With the engine; the subclasses repeat it in the other ways to move bytes."""

    def test_clients_with_nothing_to_deliver(self) -> None:
        """Of forty that vanish, whose machines send at full speed, nothing is left in 3 s."""
        before = self.gateway.sockets()
        pairs = [self._stage.open() for _ in range(_PAIRS)]
        self.flood([machine for _, machine in pairs], _PICTURE)
        used, begun = self.cpu_s(), time.monotonic()
        for client, _ in pairs:
            client.close()  # with pictures unread, so this is a reset
        while self.gateway.sockets() > before:
            self.assertLess(time.monotonic(), begun + _GONE_S)
            time.sleep(0.05)
        self.assertLess(self.cpu_s() - used, _MOST_CPU_S)

    def test_a_client_that_has_pasted(self) -> None:
        """A machine that takes slowly, and sends at full speed, gets all that the client left."""
        client, machine = self._stage.open(tiny=True)
        pasted = os.urandom(1_000_000)
        paste = Side(client.socket, ws_frame(pasted, MASK), "")
        machine.setblocking(False)
        fileno = client.socket.fileno()
        received, when_it_left = bytearray(), None
        deadline = time.monotonic() + PATIENCE_S
        while len(received) < len(pasted):
            self.assertLess(time.monotonic(), deadline)
            while paste.writing and paste.write():
                pass  # faster than the machine reads
            if when_it_left is None and not paste.writing and not unacknowledged(fileno):
                client.close()
                when_it_left = len(received)
            with contextlib.suppress(BlockingIOError):
                machine.send(_PICTURE)
            with contextlib.suppress(BlockingIOError):
                received += machine.recv(1 << 14)
            time.sleep(0.005)
        self.assertEqual(received, pasted)
        assert when_it_left is not None
        self.assertLess(when_it_left, len(pasted))


class EngineTlsTests(EngineTests):
    stage = "engine with TLS on both sides"


class PortableTests(EngineTests):
    stage = "portable"


class MachineTests(VanishingTestCase):
    def test_machines(self) -> None:
        """Clients that send on, though their machines are gone, cost little until they must go."""
        before = self.gateway.sockets()
        pairs = [self._stage.open() for _ in range(_PAIRS)]
        self.flood([client.socket for client, _ in pairs], ws_frame(bytes(60_000), MASK))
        used, begun = self.cpu_s(), time.monotonic()
        for _, machine in pairs:
            machine.close()
        while self.gateway.sockets() > before:
            self.assertLess(time.monotonic(), begun + _CLOSE_S)
            time.sleep(0.05)
        self.assertLess(self.cpu_s() - used, _MOST_CPU_S)


class ClosingTests(VanishingTestCase):
    stage = "portable with TLS on both sides"

    def test_a_client_that_closes_behind_much(self) -> None:
        """Its Close is met when reading was paused, and TLS has its end all the same."""
        before = self.gateway.sockets()
        client, machine = self._stage.open()
        client.socket.sendall(ws_frame(b"k", MASK) * 300 + ws_frame(CLOSE, MASK, 0x88))
        self.assertEqual(client.read_frame(), (0x82, SERVER_INIT))
        self.assertEqual(client.read_frame(), (0x88, CLOSE))
        for connection in (client, machine):
            connection.close()
        begun = time.monotonic()
        while self.gateway.sockets() > before:
            self.assertLess(time.monotonic(), begun + _GONE_S)
            time.sleep(0.05)
