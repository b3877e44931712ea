"""What the two handshakes have in common: a generator that is fed bytes and queues answers.

Pure: no transport, no clock, no log. A peer's fault raises only ``HandshakeError``; anything else
is a bug of ours. What was not consumed is part of the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from vncproxy.errors import HandshakeError
from vncproxy.rfb.reader import ByteReader, Steps, TlsDemand

T = TypeVar("T")

_MOST_HELD_BYTES = 256 * 1024


class Dialogue(ABC, Generic[T]):
    """One side of a handshake.

    Attributes:
        result: what was agreed, or None while the dialogue goes on.
        wants_tls: what TLS the connection needs now, or None. The driver starts it, and calls
            ``tls_started`` when the TLS handshake is done and the peer's identity is proved.
    """

    def __init__(self) -> None:
        self.result: T | None = None
        self.wants_tls: TlsDemand | None = None
        self._reader = ByteReader()
        self._to_send = bytearray()
        self._steps = self._converse()
        self._advance()

    @abstractmethod
    def _converse(self) -> Steps[T]:
        """Hold the conversation, in the order of the RFC."""

    @abstractmethod
    def _fault(self, text: str) -> HandshakeError:
        """Return the error for a peer that breaks the protocol."""

    def receive(self, data: bytes) -> None:
        """Take bytes of the peer.

        Raises:
            HandshakeError: they break the protocol, or refuse us; the dialogue is over.
        """
        if len(self._reader) + len(data) > _MOST_HELD_BYTES:
            raise self._fault(f"it sent over {_MOST_HELD_BYTES} bytes during the handshake")
        if self.wants_tls is not None:
            raise self._fault("it sent bytes in the clear where TLS begins")
        self._reader.add(data)
        self._advance()

    def tls_started(self) -> None:
        """Go on: what is received from here on came through TLS."""
        self.wants_tls = None
        self._advance()

    def data_to_send(self) -> bytes:
        """Return, and forget, the bytes that the peer is to get."""
        data = bytes(self._to_send)
        self._to_send.clear()
        return data

    def rest(self) -> bytes:
        """Return, and give up, the bytes behind the handshake: they belong to the stream."""
        return self._reader.rest()

    def _advance(self) -> None:
        if self.result is not None or self.wants_tls is not None:
            return
        try:
            self.wants_tls = next(self._steps)
        except StopIteration as stop:
            self.result = stop.value
        if self.wants_tls is not None and len(self._reader):
            # Somebody in between may have put them there, to be taken as the server's.
            raise self._fault("it sent bytes in the clear where TLS begins")

    def _send(self, data: bytes) -> None:
        self._to_send += data
