"""The security types towards a server: every version, every split, and every fault of a server."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from tests.rfb.servers import CREDENTIALS, SCHEMES, play, script
from vncproxy.errors import (
    HandshakeError,
    LockedOut,
    NotRfb,
    PasswordRefused,
    SecurityFailed,
    ServerGone,
)
from vncproxy.model import Credentials
from vncproxy.rfb.handshake import ServerHandshake
from vncproxy.rfb.messages import Version, reason_message
from vncproxy.rfb.reader import TlsDemand
from vncproxy.rfb.security import challenge_response, methods_of

_HELLO = b"RFB 003.008\n"
_TO_VENCRYPT = _HELLO + b"\x01\x13" + b"\0\2" + b"\0"

# How often a server of 3.8 hears something from us before it can send ServerInit, ClientInit not
# counted: what docs/protocol.md says, and no more than the protocols need.
ROUND_TRIPS = {
    "none": 2,
    "vnc": 3,
    "x509none": 4,
    "x509vnc": 5,
    "x509plain": 5,
    "tlsnone": 4,
    "tlsvnc": 5,
    "tlsplain": 5,
}


class EachSchemeTests(SynchronousTestCase):
    def test_every_version_whole_and_byte_by_byte(self) -> None:
        """We are let in, having said what the server must hear, and keep what is behind."""
        for version in Version:
            for scheme in SCHEMES:
                one = script(version, scheme)
                if one is None:
                    continue
                for bytewise in (False, True):
                    handshake = ServerHandshake([scheme], CREDENTIALS)
                    play(handshake, one, bytewise)
                    assert handshake.result is not None, (version, scheme)
                    self.assertEqual(handshake.result.version, version)
                    self.assertEqual(handshake.result.method.name, scheme)
                    handshake.receive(b"stream")
                    self.assertEqual(handshake.rest(), b"stream")

    def test_round_trips(self) -> None:
        """No turn is taken that the protocol does not need."""
        for scheme, expected in ROUND_TRIPS.items():
            one = script(Version.V3_8, scheme)
            assert one is not None
            self.assertEqual(play(ServerHandshake([scheme], CREDENTIALS), one), expected, scheme)


class VncAuthenticationTests(SynchronousTestCase):
    def test_a_known_answer(self) -> None:
        """The answer that every VNC server expects of these."""
        challenge = bytes.fromhex("0123456789abcdeffedcba9876543210")
        answer = challenge_response(challenge, "password")
        # By `openssl enc -des-ecb -nopad -K 0e86ceceeef64e26`: the key has its bits mirrored.
        self.assertEqual(answer.hex(), "2b237257e9f90c8165dc8e23107edf71")

    def test_only_eight_bytes_count(self) -> None:
        """The rest of a long password never did; a short one is filled up."""
        challenge = bytes(16)
        long = challenge_response(challenge, "12345678")
        self.assertEqual(challenge_response(challenge, "1234567890"), long)
        self.assertNotEqual(challenge_response(challenge, "1234"), long)
        self.assertEqual(len(challenge_response(challenge, "")), 16)

    def test_a_wrong_password(self) -> None:
        """In 3.8 with the server's reason, before that without."""
        for version, reason in ((Version.V3_8, "too many attempts"), (Version.V3_3, "")):
            one = script(version, "vnc")
            assert one is not None
            handshake = ServerHandshake(["vnc"], CREDENTIALS)
            for turn in one.turns[:-1]:
                assert not isinstance(turn, TlsDemand)
                handshake.receive(turn[0])
            with self.assertRaises(SecurityFailed) as caught:
                handshake.receive(b"\0\0\0\1" + (reason_message(reason) if reason else b""))
            self.assertIn(reason or "refused our credentials", str(caught.exception))

    def refused_with(self, ending: bytes, scheme: str = "vnc") -> SecurityFailed:
        """Return what follows of this SecurityResult, and this reason, of a server of 3.8."""
        one = script(Version.V3_8, scheme)
        assert one is not None
        handshake = ServerHandshake([scheme], CREDENTIALS)
        for turn in one.turns[:-1]:
            assert not isinstance(turn, TlsDemand)
            handshake.receive(turn[0])
        with self.assertRaises(SecurityFailed) as caught:
            handshake.receive(ending)
        error: SecurityFailed = caught.exception
        return error

    def test_why_we_are_refused(self) -> None:
        """A wrong password, a server that lets nobody in for a while, and one with other reasons.

        The reasons are those of Xtigervnc, QEMU, x11vnc and RealVNC.
        """
        password, locked, other = PasswordRefused, LockedOut, SecurityFailed
        for reason, expected in (
            ("Authentication failure", password),
            ("Authentication failed", password),
            ("password check failed!", password),
            ("Either the username was not recognised, or the password was incorrect", password),
            ("", password),
            ("Too many security failures", locked),
            ("Too many authentication failures", locked),
            ("too many attempts", locked),
            ("The server is already in use", other),
            ("Connection rejected", other),
        ):
            error = self.refused_with(b"\0\0\0\1" + reason_message(reason))
            self.assertIs(type(error), expected, reason)
            self.assertNotIn(reason or "(", error.words)
        for scheme in ("none", "vnc"):
            error = self.refused_with(b"\0\0\0\1" + reason_message("Authentication?"), scheme)
            self.assertIs(type(error), other if scheme == "none" else password)

    def test_locked_out_at_the_door(self) -> None:
        """Xtigervnc says so before it has heard anything; with nothing to choose from, in 3.8."""
        reason = reason_message("Too many security failures")
        for wire in (b"RFB 003.003\n" + bytes(4), b"RFB 003.007\n\0", _HELLO + b"\0"):
            with self.assertRaises(LockedOut):
                ServerHandshake(["none"]).receive(wire + reason)

    def test_too_many_without_a_reason(self) -> None:
        """Old servers have a SecurityResult of its own for it, 2."""
        one = script(Version.V3_3, "vnc")
        assert one is not None
        for result, expected in ((1, PasswordRefused), (2, LockedOut)):
            handshake = ServerHandshake(["vnc"], CREDENTIALS)
            for turn in one.turns[:-1]:
                assert not isinstance(turn, TlsDemand)
                handshake.receive(turn[0])
            with self.assertRaises(expected):
                handshake.receive(struct.pack("!I", result))

    def test_a_password_that_we_do_not_have(self) -> None:
        """It is what is missing only where the server would take one."""
        one_of_ours, another = _HELLO + b"\1\2", _HELLO + b"\1\x05"
        for wire, expected in ((one_of_ours, PasswordRefused), (another, SecurityFailed)):
            with self.assertRaises(SecurityFailed) as caught:
                ServerHandshake(["none", "vnc"]).receive(wire)
            self.assertIs(type(caught.exception), expected)
        for subtype, kind in ((261, PasswordRefused), (256, SecurityFailed)):
            with self.assertRaises(SecurityFailed) as caught:
                wire = _TO_VENCRYPT + struct.pack("!BI", 1, subtype)
                ServerHandshake(["vencrypt"]).receive(wire)
            self.assertIs(type(caught.exception), kind)


class VencryptTests(SynchronousTestCase):
    def assert_refused(
        self, error: type[HandshakeError], wire: bytes, words: str, schemes: str = "vencrypt"
    ) -> None:
        handshake = ServerHandshake(schemes.split(), CREDENTIALS)
        with self.assertRaises(error) as caught:
            handshake.receive(wire)
        self.assertIn(words, str(caught.exception))
        self.assertNotIn("pa55word", str(caught.exception))
        self.assertIsNone(handshake.wants_tls)

    def test_another_version(self) -> None:
        """VeNCrypt 0.1 had other numbers."""
        self.assert_refused(NotRfb, _HELLO + b"\x01\x13\0\1", "VeNCrypt 0.1")

    def test_the_version_is_refused(self) -> None:
        """A server may not like ours."""
        self.assert_refused(SecurityFailed, _HELLO + b"\x01\x13\0\2\1", "does not accept")

    def test_no_subtypes(self) -> None:
        """An empty list has nothing in common with ours."""
        self.assert_refused(SecurityFailed, _TO_VENCRYPT + b"\0", "sub-types nothing;")

    def test_many_subtypes(self) -> None:
        """A full list of unknown ones is read, and named."""
        many = struct.pack("!255I", *range(1000, 1255))
        self.assert_refused(SecurityFailed, _TO_VENCRYPT + b"\xff" + many, "unknown (1254)")

    def test_plain_without_tls(self) -> None:
        """A password in the clear is never sent, whatever is configured."""
        plain = struct.pack("!BI", 1, 256)
        everything = " ".join(SCHEMES)
        self.assert_refused(SecurityFailed, _TO_VENCRYPT + plain, "Plain (256)", everything)

    def test_anonymous_tls_is_not_meant_by_vencrypt(self) -> None:
        """It must be named itself."""
        anonymous = struct.pack("!BIII", 3, 257, 258, 259)
        self.assert_refused(SecurityFailed, _TO_VENCRYPT + anonymous, "allow X509None (260)")

    def test_a_subtype_that_is_taken_back(self) -> None:
        """The byte behind the sub-type is 1 for yes."""
        offered = struct.pack("!BI", 1, 260)
        self.assert_refused(SecurityFailed, _TO_VENCRYPT + offered + b"\0", "then refused it")

    def test_bytes_where_tls_begins(self) -> None:
        """What comes in the clear behind the last byte may be somebody else's: refused."""
        offered = struct.pack("!BI", 1, 260)
        handshake = ServerHandshake(["vencrypt"], CREDENTIALS)
        with self.assertRaises(NotRfb) as caught:
            handshake.receive(_TO_VENCRYPT + offered + b"\1" + bytes(4))
        self.assertIn("in the clear where TLS begins", str(caught.exception))
        handshake = ServerHandshake(["vencrypt"], CREDENTIALS)
        handshake.receive(_TO_VENCRYPT + offered + b"\1")
        self.assertIs(handshake.wants_tls, TlsDemand.X509)
        with self.assertRaises(NotRfb):
            handshake.receive(bytes(4))

    def test_the_connection_closes(self) -> None:
        """At each step of VeNCrypt the error says what we were waiting for."""
        wire = _TO_VENCRYPT + struct.pack("!BI", 1, 260)
        for length in range(len(_HELLO) + 2, len(wire)):
            handshake = ServerHandshake(["vencrypt"], CREDENTIALS)
            handshake.receive(wire[:length])
            self.assertIsInstance(handshake.lost(), ServerGone)
            self.assertIn("its part of the authentication", str(handshake.lost()))


class ChoiceTests(SynchronousTestCase):
    def chosen(self, schemes: str, offered: bytes, credentials: Credentials | None) -> int:
        handshake = ServerHandshake(schemes.split(), credentials)
        handshake.receive(_HELLO)
        handshake.data_to_send()
        handshake.receive(bytes([len(offered)]) + offered)
        return handshake.data_to_send()[0]

    def test_our_order_wins(self) -> None:
        """Not the server's, as in nova."""
        self.assertEqual(self.chosen("vencrypt none", b"\x01\x13", None), 19)
        self.assertEqual(self.chosen("none vencrypt", b"\x13\x01", None), 1)
        self.assertEqual(self.chosen("vnc none", b"\x01\x02", CREDENTIALS), 2)

    def test_what_we_have_no_password_for_is_not_chosen(self) -> None:
        """The next scheme of ours is tried."""
        self.assertEqual(self.chosen("vnc none", b"\x01\x02", None), 1)
        usable = [m.name for m in methods_of(["vencrypt"]) if m.usable_with(Credentials("p"))]
        self.assertEqual(usable, ["x509none", "x509vnc"])

    def test_the_error_says_that_a_password_is_missing(self) -> None:
        """And for which scheme."""
        handshake = ServerHandshake(["vnc", "x509plain"])
        with self.assertRaises(SecurityFailed) as caught:
            handshake.receive(_HELLO + b"\x01\x02")
        self.assertIn("for vnc, x509plain we have no password", str(caught.exception))

    def test_a_dictated_password(self) -> None:
        """A server of 3.3 that wants a password we have not is left."""
        with self.assertRaises(SecurityFailed):
            ServerHandshake(["none", "vnc"]).receive(b"RFB 003.003\n\0\0\0\2")

    def test_passwords_show_nowhere(self) -> None:
        """Not in what a debugger or a traceback prints."""
        self.assertNotIn("pa55word", repr(CREDENTIALS))
