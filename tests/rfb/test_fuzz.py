"""Any bytes, in any pieces: the handshakes raise their own errors only, and stay small."""

from __future__ import annotations

import os
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.errors import HandshakeError
from vncproxy.rfb.dialogue import Dialogue
from vncproxy.rfb.handshake import ClientHandshake, ServerHandshake

_EXAMPLES = int(os.environ.get("VNCPROXY_FUZZ_EXAMPLES", "300"))
_VALID = (
    b"RFB 003.008\n\x01\x01\0\0\0\0",
    b"RFB 003.007\n\x02\x02\x01",
    b"RFB 003.003\n\0\0\0\x01",
    b"RFB 003.008\n\0\0\0\0\x04full",
)


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Return valid beginnings with a few bytes changed, or anything, cut anywhere."""
    wire = bytearray(draw(st.sampled_from(_VALID) | st.binary(max_size=80)))
    for _ in range(draw(st.integers(0, 3))):
        if wire:
            wire[draw(st.integers(0, len(wire) - 1))] = draw(st.integers(0, 255))
    wire += draw(st.binary(max_size=20))
    cuts = sorted(draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    edges = [0, *cuts, len(wire)]
    return [bytes(wire[a:b]) for a, b in pairwise(edges)]


def feed(dialogue: Dialogue[object], pieces: list[bytes]) -> None:
    try:
        for piece in pieces:
            dialogue.receive(piece)
    except HandshakeError as error:
        assert error.words and str(error).isprintable()
    assert len(dialogue.data_to_send()) < 200
    assert len(dialogue.rest()) <= sum(map(len, pieces))


class FuzzTests(SynchronousTestCase):
    @settings(max_examples=_EXAMPLES, deadline=None)
    @given(conversations())
    def test_server_handshake(self, pieces: list[bytes]) -> None:
        """A VNC server may send anything."""
        feed(ServerHandshake(["none"]), pieces)  # type: ignore[arg-type]

    @settings(max_examples=_EXAMPLES, deadline=None)
    @given(conversations(), st.sampled_from(["wait", "accept", "refuse"]))
    def test_client_handshake(self, pieces: list[bytes], decision: str) -> None:
        """A client may send anything, whatever the gateway decides."""
        handshake = ClientHandshake()
        if decision == "accept":
            handshake.accept()
        elif decision == "refuse":
            handshake.refuse("no")
        feed(handshake, pieces)  # type: ignore[arg-type]
