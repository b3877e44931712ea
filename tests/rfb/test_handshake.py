"""The two RFB handshakes: every version, every split, and every fault of a peer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import every_split
from tests.rfb.servers import SCHEMES
from vncproxy.errors import ClientNotRfb, HandshakeError, NotRfb, SecurityFailed, ServerGone
from vncproxy.model import Credentials
from vncproxy.rfb.handshake import ClientHandshake, ServerHandshake
from vncproxy.rfb.messages import Version, reason_message

_OK = bytes(4)
_FAILED = b"\0\0\0\1"
# What a server of each version sends until we are let in with None, and what it hears.
_SERVERS = {
    Version.V3_3: (b"RFB 003.003\n" + b"\0\0\0\1", b"RFB 003.003\n"),
    Version.V3_7: (b"RFB 003.007\n" + b"\1\1", b"RFB 003.007\n" + b"\1"),
    Version.V3_8: (b"RFB 003.008\n" + b"\1\1" + _OK, b"RFB 003.008\n" + b"\1"),
}
# What a client of each version sends, and hears, when it is let in.
_CLIENTS = {
    Version.V3_3: (b"RFB 003.003\n", b"RFB 003.008\n" + b"\0\0\0\1"),
    Version.V3_7: (b"RFB 003.007\n" + b"\1", b"RFB 003.008\n" + b"\1\1"),
    Version.V3_8: (b"RFB 003.008\n" + b"\1", b"RFB 003.008\n" + b"\1\1" + _OK),
}


def server_handshake() -> ServerHandshake:
    return ServerHandshake(["none"])


class ServerHandshakeTests(SynchronousTestCase):
    def test_each_version_in_every_split(self) -> None:
        """We follow the server's version, hear a result only in 3.8, and keep what is behind."""
        for version, (sent, heard) in _SERVERS.items():
            for pieces in every_split(sent + b"stream"):
                handshake = server_handshake()
                for piece in pieces:
                    handshake.receive(piece)
                assert handshake.result is not None, (version, pieces)
                self.assertEqual(handshake.result.version, version)
                self.assertEqual(handshake.data_to_send(), heard)
                self.assertEqual(handshake.rest(), b"stream")

    def test_odd_versions(self) -> None:
        """Version numbers in the wild are answered with the standard one they are compatible to."""
        expected = {
            b"003.003": b"003.003",
            b"003.004": b"003.003",
            b"003.005": b"003.003",
            b"003.006": b"003.003",
            b"003.007": b"003.007",
            b"003.008": b"003.008",
            b"003.014": b"003.008",
            b"003.016": b"003.008",
            b"003.889": b"003.008",
            b"004.000": b"003.008",
            b"004.001": b"003.008",
            b"005.000": b"003.008",
        }
        for announced, answered in expected.items():
            handshake = server_handshake()
            handshake.receive(b"RFB " + announced + b"\n")
            self.assertEqual(handshake.data_to_send(), b"RFB " + answered + b"\n")

    def test_what_is_no_rfb(self) -> None:
        """Another protocol, and a repeater's 000.000, are named in the error."""
        for greeting in (b"SSH-2.0-Open", b"HTTP/1.1 400", b"RFB 000.000\n", b"RFB 003.8\n  "):
            with self.assertRaises(NotRfb) as caught:
                server_handshake().receive(greeting)
            self.assertIn(repr(greeting), str(caught.exception))

    def assert_refused(self, *pieces: bytes) -> str:
        handshake = server_handshake()
        with self.assertRaises(SecurityFailed) as caught:
            for piece in pieces:
                handshake.receive(piece)
        self.assertNotIn("secret host", caught.exception.words)
        return str(caught.exception)

    def test_no_types_and_a_reason(self) -> None:
        """A server that offers nothing tells the operator, not the tenant, why."""
        reason = reason_message("secret host is full\n")
        for version, none in ((b"003.008", b"\0"), (b"003.007", b"\0"), (b"003.003", bytes(4))):
            text = self.assert_refused(b"RFB " + version + b"\n" + none + reason)
            self.assertIn(r"'secret host is full\n'", text)

    def test_a_failed_result(self) -> None:
        """A failed SecurityResult of 3.8 brings a reason."""
        text = self.assert_refused(b"RFB 003.008\n\1\1" + _FAILED + reason_message("no"))
        self.assertIn("'no'", text)

    def test_a_huge_reason_is_not_read(self) -> None:
        """A reason of 4 GiB is not waited for."""
        text = self.assert_refused(b"RFB 003.008\n\0\xff\xff\xff\xff")
        self.assertIn("4294967295 bytes", text)

    def test_types_that_are_not_allowed(self) -> None:
        """The error names what was offered, known or not, and what is allowed."""
        text = self.assert_refused(b"RFB 003.008\n\3\2\x13\xc8")
        self.assertIn("VNC authentication (2), VeNCrypt (19), unknown (200)", text)
        self.assertIn("allows none", text)

    def test_types_that_are_not_supported(self) -> None:
        """Each is named to the operator, whatever is allowed; of VeNCrypt's sub-types too."""
        everything = [*SCHEMES, "none", "vnc"]
        known = Credentials("password", "user")
        for number, name in (
            (5, "RA2"),
            (6, "RA2ne"),
            (16, "Tight"),
            (17, "Ultra"),
            (18, "TLS"),
            (20, "SASL"),
            (22, "xvp"),
            (30, "ARD"),
            (113, "MS-Logon II"),
            (129, "RA-256"),
        ):
            for wire in (
                b"RFB 003.008\n\1" + bytes([number]),
                b"RFB 003.003\n" + number.to_bytes(4, "big"),
            ):
                with self.assertRaises(SecurityFailed) as caught:
                    ServerHandshake(everything, known).receive(wire)
                self.assertIs(type(caught.exception), SecurityFailed)
                self.assertIn(f"security types {name} ({number});", str(caught.exception))
        for number, name in ((263, "X509SASL"), (264, "TLSSASL")):
            wire = b"RFB 003.008\n\1\x13" + b"\0\2\0" + b"\1" + number.to_bytes(4, "big")
            with self.assertRaises(SecurityFailed) as caught:
                ServerHandshake(everything, known).receive(wire)
            self.assertIn(f"{name} ({number})", str(caught.exception))

    def test_a_dictated_type_that_is_not_allowed(self) -> None:
        """In 3.3 the server decides; we leave."""
        self.assertIn("VNC authentication (2)", self.assert_refused(b"RFB 003.003\n\0\0\0\2"))

    def test_none_among_others(self) -> None:
        """Types we do not know are no hindrance."""
        handshake = server_handshake()
        handshake.receive(b"RFB 003.008\n\3\xfe\2\1" + _OK)
        self.assertIsNotNone(handshake.result)

    def test_the_connection_closes(self) -> None:
        """The error says what we were waiting for."""
        steps = [
            (b"", "its protocol version"),
            (b"RFB 003.008\n", "its security types"),
            (b"RFB 003.008\n\1", "its security types"),
            (b"RFB 003.008\n\1\1", "its security result"),
            (b"RFB 003.008\n\0\0", "the reason of its refusal"),
            (b"RFB 003.003\n", "its security type"),
        ]
        for sent, awaited in steps:
            handshake = server_handshake()
            handshake.receive(sent)
            error = handshake.lost()
            self.assertIsInstance(error, ServerGone)
            self.assertTrue(str(error).endswith(f"before the server sent {awaited}"), str(error))

    def test_a_flood(self) -> None:
        """What a server sends before the client is let in has a limit."""
        handshake = server_handshake()
        handshake.receive(_SERVERS[Version.V3_8][0])
        with self.assertRaises(NotRfb):
            for _ in range(5):
                handshake.receive(bytes(64 * 1024))


class ClientHandshakeTests(SynchronousTestCase):
    def test_each_version_in_every_split(self) -> None:
        """Each client is let in as its version has it, and its early bytes are kept."""
        for version, (sent, heard) in _CLIENTS.items():
            for pieces in every_split(sent + b"stream"):
                handshake = ClientHandshake()
                handshake.accept()
                for piece in pieces:
                    handshake.receive(piece)
                self.assertEqual(handshake.result, version)
                self.assertEqual(handshake.data_to_send(), heard)
                self.assertEqual(handshake.rest(), b"stream")

    def test_the_offer_waits_for_the_server(self) -> None:
        """Before the console has let us in the client hears our version only."""
        handshake = ClientHandshake()
        handshake.receive(b"RFB 003.008\n")
        self.assertEqual(handshake.data_to_send(), b"RFB 003.008\n")
        handshake.accept()
        self.assertEqual(handshake.data_to_send(), b"\1\1")

    def assert_heard(
        self, sent: bytes, heard: bytes, drive: Callable[[ClientHandshake], None]
    ) -> None:
        """Check what the client hears, whether it speaks before or after the gateway decides."""
        for speaks_first in (True, False):
            handshake = ClientHandshake()
            if speaks_first:
                handshake.receive(sent)
            drive(handshake)
            if not speaks_first:
                handshake.receive(sent)
            self.assertEqual(handshake.data_to_send(), b"RFB 003.008\n" + heard)
            self.assertTrue(handshake.refused)
            self.assertIsNone(handshake.result)

    def test_refused_before_the_types(self) -> None:
        """A refusal is zero security types and the reason; in 3.3 the type 0."""
        reason = reason_message("The machine is off.")
        for version, none in ((b"003.008", b"\0"), (b"003.007", b"\0"), (b"003.003", bytes(4))):
            self.assert_heard(
                b"RFB " + version + b"\n",
                none + reason,
                lambda handshake: handshake.refuse("The machine is off."),
            )

    def test_refused_after_the_types(self) -> None:
        """Once None was offered, the SecurityResult refuses; only 3.8 has a reason there."""
        for version, reason in ((b"003.008", reason_message("Off.")), (b"003.007", b"")):
            handshake = ClientHandshake()
            handshake.accept()
            handshake.receive(b"RFB " + version + b"\n")
            handshake.refuse("Off.")
            self.assertFalse(handshake.refused)
            handshake.receive(b"\1")
            heard = handshake.data_to_send()
            self.assertEqual(heard, b"RFB 003.008\n\1\1" + _FAILED + reason)
            self.assertTrue(handshake.refused)

    def test_after_a_refusal_nothing_is_kept(self) -> None:
        """A client that goes on talking after its refusal fills no buffer."""
        handshake = ClientHandshake()
        handshake.refuse("Off.")
        handshake.receive(b"RFB 003.008\n")
        for _ in range(10):
            handshake.receive(bytes(64 * 1024))
        self.assertEqual(handshake.rest(), b"")

    def test_a_type_that_was_not_offered(self) -> None:
        """The client is told in 3.8; in 3.7 there are no words for it."""
        text = reason_message("Only the security type 1 (NONE) is supported")
        for version, heard in ((b"003.008", _FAILED + text), (b"003.007", b"")):
            handshake = ClientHandshake()
            handshake.accept()
            with self.assertRaises(ClientNotRfb) as caught:
                handshake.receive(b"RFB " + version + b"\n\2")
            self.assertIn("VNC authentication (2)", str(caught.exception))
            self.assertEqual(handshake.data_to_send(), b"RFB 003.008\n\1\1" + heard)

    def test_what_is_no_rfb(self) -> None:
        """Another protocol's greeting is a fault of the client."""
        with self.assertRaises(ClientNotRfb):
            ClientHandshake().receive(b"GET / HTTP/1.1\r\n\r\n")


class MatrixTests(SynchronousTestCase):
    def test_every_client_with_every_server(self) -> None:
        """Both handshakes side by side: each peer hears its own version's bytes."""
        for server_version, client_version in product(Version, Version):
            server, client = server_handshake(), ClientHandshake()
            server.receive(_SERVERS[server_version][0])
            client.receive(_CLIENTS[client_version][0])
            client.accept()
            self.assertEqual(server.data_to_send(), _SERVERS[server_version][1])
            self.assertEqual(client.data_to_send(), _CLIENTS[client_version][1])

    def test_our_two_sides_with_each_other(self) -> None:
        """A gateway in front of a gateway: the one's client side and the other's server side."""
        server, client = server_handshake(), ClientHandshake()
        client.accept()
        for _ in range(3):
            server.receive(client.data_to_send())
            client.receive(server.data_to_send())
        self.assertIsNotNone(server.result)
        self.assertEqual(client.result, Version.V3_8)


class ErrorTests(SynchronousTestCase):
    def test_a_handshake_raises_nothing_else(self) -> None:
        """The errors of this package are one family, each with words for the tenant."""
        for error in (NotRfb, SecurityFailed, ServerGone, ClientNotRfb):
            self.assertTrue(issubclass(error, HandshakeError))
            self.assertTrue(error("for the operator").words)
