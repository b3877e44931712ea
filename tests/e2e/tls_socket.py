"""TLS on a socket whose two directions end one by one.

With Python's own ``ssl`` that is not possible: its ``unwrap`` asks OpenSSL twice, and when the
peer's data is there by the second time, that is an error, behind which nothing more is read.
"""

from __future__ import annotations

import select
import socket
from typing import Any

from OpenSSL import SSL


class TlsSocket:
    """What of a socket the tests use, through TLS; the handshake is done when this returns.

    Args:
        raw: a blocking socket.
        context: certificates, and whether to verify any.
        server_side: whether to be the server of TLS.
    """

    def __init__(self, raw: socket.socket, context: SSL.Context, server_side: bool) -> None:
        self._raw = raw
        self._timeout_s = raw.gettimeout()
        raw.setblocking(False)
        self._tls = SSL.Connection(context, raw)
        if server_side:
            self._tls.set_accept_state()
        else:
            self._tls.set_connect_state()
        while True:
            try:
                self._tls.do_handshake()
            except SSL.WantReadError:
                self._wait(select.POLLIN)
            else:
                return

    def _wait(self, events: int) -> None:
        poll = select.poll()
        poll.register(self._raw, events)
        if not poll.poll(None if self._timeout_s is None else 1000 * self._timeout_s):
            raise TimeoutError

    def setblocking(self, blocking: bool) -> None:
        """Wait in ``recv``, or raise BlockingIOError."""
        self._timeout_s = None if blocking else 0.0

    def recv(self, limit: int) -> bytes:
        """Return what is there; nothing at the peer's end, in order or not."""
        while True:
            try:
                data: bytes = self._tls.recv(limit)
            except SSL.WantReadError:
                if self._timeout_s == 0.0:
                    raise BlockingIOError from None
                self._wait(select.POLLIN)
            except SSL.Error:
                return b""
            else:
                return data

    def send(self, data: bytes | bytearray) -> int:
        """Send what goes out now, which may be less than all."""
        try:
            return self._tls.send(bytes(data))
        except SSL.WantWriteError:
            raise BlockingIOError from None
        except SSL.Error as error:
            raise ConnectionError(str(error)) from error

    def sendall(self, data: bytes) -> None:
        """Send a little, which goes out at once."""
        assert self.send(data) == len(data)

    def finish(self) -> None:
        """Say that this was all, while the peer may go on; BlockingIOError if there is no room."""
        try:
            self._tls.shutdown()
        except SSL.WantWriteError:
            raise BlockingIOError from None
        except SSL.Error as error:
            raise ConnectionError(str(error)) from error

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  a socket's
        return getattr(self._raw, name)
