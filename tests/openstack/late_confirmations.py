"""A relay before RabbitMQ whose confirmations come late, as a busy broker's do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_DELAY_S = 0.05
_BASIC_ACK = b"\x00\x3c\x00\x50"  # class 60, method 80 (AMQP 0-9-1 §1.3)
_HEAD_BYTES = 7  # type, channel, size; one byte more ends the frame (§2.3.5)


class LateConfirmations:
    """Passes AMQP on in both directions, and holds back each Basic.Ack, and what follows it.

    Args:
        port: of the broker, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._broker = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                broker = socket.create_connection(("127.0.0.1", self._broker))
                self._sockets += [client, broker]
                for pump in (self._pass_on, self._pass_on_late):
                    ends = (client, broker) if pump == self._pass_on else (broker, client)
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def _pass_on_late(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError), source.makefile("rb") as frames:
            while head := frames.read(_HEAD_BYTES):
                rest = frames.read(int.from_bytes(head[3:7], "big") + 1)
                if head[0] == 1 and rest.startswith(_BASIC_ACK):
                    time.sleep(_DELAY_S)
                sink.sendall(head + rest)
            sink.shutdown(socket.SHUT_WR)

    def stop(self) -> None:
        """Close every connection."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
