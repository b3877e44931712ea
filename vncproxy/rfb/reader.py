"""A buffer that dialogues read from, whatever pieces the bytes arrive in.

Pure: no transport, no clock, no log. Bytes in, bytes out; what is held has a limit.
"""

from __future__ import annotations

import enum
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


class TlsDemand(enum.Enum):
    """What a dialogue asks its driver for: TLS on the connection, from here on."""

    X509 = "x509"
    ANONYMOUS = "anonymous"


# A dialogue yields None when it needs more bytes, a demand when it needs TLS, and returns a T when
# it is done.
Steps = Generator[TlsDemand | None, None, T]


class ByteReader:
    """Holds what has arrived until somebody reads it."""

    def __init__(self) -> None:
        self._held = bytearray()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, data: bytes) -> None:
        """Take what arrived."""
        self._held += data

    def exactly(self, count: int) -> Steps[bytes]:
        """Return the next ``count`` bytes, yielding until they are here."""
        while len(self._held) < count:
            yield None
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken

    def rest(self) -> bytes:
        """Return, and give up, everything that was not read."""
        taken = bytes(self._held)
        self._held.clear()
        return taken
