"""Scripted VNC servers for the handshakes' tests: what each sends in turn, and must hear."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from vncproxy.model import Credentials
from vncproxy.rfb.handshake import ServerHandshake
from vncproxy.rfb.messages import Version
from vncproxy.rfb.reader import TlsDemand
from vncproxy.rfb.security import challenge_response

CREDENTIALS = Credentials("pa55word", "kim")
CHALLENGE = bytes(range(16))
RESPONSE = challenge_response(CHALLENGE, "pa55word")
PLAIN = struct.pack("!II", 3, 8) + b"kimpa55word"
OK, FAILED = bytes(4), b"\0\0\0\1"


@dataclass(frozen=True, slots=True)
class Script:
    """A server's side of a handshake: (what it sends, what it hears after that), in turn.

    TLS begins where a turn is a demand.
    """

    scheme: str
    turns: tuple[tuple[bytes, bytes] | TlsDemand, ...]


def script(version: Version, scheme: str) -> Script | None:
    """Return the script of a server that wants this scheme; None where the version has no such."""
    number = {"none": 1, "vnc": 2}.get(scheme, 19)
    if number == 19 and version is Version.V3_3:
        return None
    hello = version.message
    if version is Version.V3_3:
        first = ((hello, hello), (struct.pack("!I", number), b""))
    else:
        first = ((hello, hello), (bytes([1, number]), bytes([number])))
    result: tuple[tuple[bytes, bytes], ...] = ((OK, b""),)
    if number == 1 and version is not Version.V3_8:
        result = ()
    if number == 1:
        return Script(scheme, (*first, *result))
    if number == 2:
        return Script(scheme, (*first, (CHALLENGE, RESPONSE), *result))
    subtype = 257 + ("tlsnone", "tlsvnc", "tlsplain", "x509none", "x509vnc", "x509plain").index(
        scheme
    )
    chosen = struct.pack("!I", subtype)
    vencrypt = ((b"\0\2", b"\0\2"), (b"\0\1" + chosen, chosen))
    demand = TlsDemand.X509 if subtype >= 260 else TlsDemand.ANONYMOUS
    inside: tuple[tuple[bytes, bytes], ...] = ()
    if scheme.endswith("vnc"):
        inside = ((CHALLENGE, RESPONSE),)
    elif scheme.endswith("plain"):
        inside = ((b"", PLAIN),)
    return Script(scheme, (*first, *vencrypt, (b"\1", b""), demand, *inside, *result))


SCHEMES = ("none", "vnc", "tlsnone", "tlsvnc", "tlsplain", "x509none", "x509vnc", "x509plain")


def play(handshake: ServerHandshake, one: Script, bytewise: bool = False) -> int:
    """Play the script's server to the end; return how often it waited for something it heard."""
    waited = 0
    for turn in one.turns:
        if isinstance(turn, TlsDemand):
            assert handshake.wants_tls is turn, handshake.wants_tls
            handshake.tls_started()
            continue
        sent, hears = turn
        for piece in [sent[i : i + 1] for i in range(len(sent))] if bytewise else [sent]:
            if piece:
                handshake.receive(piece)
        heard = handshake.data_to_send()
        assert heard == hears, (one.scheme, heard, hears)
        waited += bool(hears)
    return waited
