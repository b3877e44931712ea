"""The CONNECT before a console: every split of the answer, and what is no answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import every_split
from vncproxy.connect import ConnectRequest
from vncproxy.errors import ConnectRefused, HandshakeError

_ANSWER = b"HTTP/1.1 200 Connection established\r\nVia: a\r\n\r\n"


class ConnectRequestTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """The request goes out at once, and not a byte behind the answer is swallowed."""
        for pieces in every_split(_ANSWER + b"RFB 003.008\n"):
            request = ConnectRequest("/console/7")
            self.assertEqual(request.data_to_send(), b"CONNECT /console/7 HTTP/1.1\r\n\r\n")
            for piece in pieces:
                request.receive(piece)
            self.assertEqual((request.result, request.rest()), (200, b"RFB 003.008\n"))

    def test_refusals(self) -> None:
        """Another status, another protocol, and 200 in the wrong place (nova would take it)."""
        for answer in (
            b"HTTP/1.1 403 Forbidden\r\n\r\n",
            b"HTTP/1.1 500 no 200 here\r\n\r\n",
            b"RFB 003.008\n\r\n\r\n",
            b"\r\n\r\n",
        ):
            with self.assertRaises(ConnectRefused):
                ConnectRequest("/").receive(answer)

    def test_an_endless_answer(self) -> None:
        """Is not read to its end."""
        with self.assertRaises(ConnectRefused):
            ConnectRequest("/").receive(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000)

    def test_a_path_that_is_none(self) -> None:
        """Nothing in a token's row can add a line to our request."""
        for path in ("/a\r\nX: y", "/a b", "/\0"):
            with self.assertRaises(ConnectRefused):
                ConnectRequest(path)

    @given(st.binary(max_size=200))
    def test_anything(self, answer: bytes) -> None:
        """A hypervisor may answer anything."""
        try:
            ConnectRequest("/").receive(answer)
        except HandshakeError as error:
            self.assertTrue(str(error).isprintable())
