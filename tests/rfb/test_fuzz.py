"""Any bytes, in any pieces: the handshakes raise their own errors only, and stay small."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.rfb import fuzz
from tests.rfb.servers import CREDENTIALS, SCHEMES
from vncproxy.errors import HandshakeError
from vncproxy.rfb.dialogue import Dialogue
from vncproxy.rfb.handshake import ClientHandshake, ServerHandshake


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Return valid beginnings with something behind, or anything, cut anywhere."""
    wire = draw(st.sampled_from(fuzz.servers_wires()) | st.binary(max_size=80))
    wire = wire[: draw(st.integers(0, len(wire)))] + draw(st.binary(max_size=20))
    cuts = sorted(draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    return [wire[a:b] for a, b in pairwise([0, *cuts, len(wire)])]


def feed(dialogue: Dialogue[object], pieces: list[bytes]) -> None:
    try:
        for piece in pieces:
            dialogue.receive(piece)
    except HandshakeError as error:
        assert error.words and str(error).isprintable()
    assert len(dialogue.data_to_send()) < 200
    assert len(dialogue.rest()) <= sum(map(len, pieces))


class FuzzTests(SynchronousTestCase):
    @settings(max_examples=300)
    @given(conversations(), st.lists(st.sampled_from(SCHEMES), min_size=1))
    def test_server_handshake(self, pieces: list[bytes], schemes: list[str]) -> None:
        """A VNC server may send anything."""
        feed(ServerHandshake(schemes, CREDENTIALS), pieces)  # type: ignore[arg-type]

    @settings(max_examples=300)
    @given(conversations(), st.sampled_from(["wait", "accept", "refuse"]))
    def test_client_handshake(self, pieces: list[bytes], decision: str) -> None:
        """A client may send anything, whatever the gateway decides."""
        handshake = ClientHandshake()
        if decision == "accept":
            handshake.accept()
        elif decision == "refuse":
            handshake.refuse("no")
        feed(handshake, pieces)  # type: ignore[arg-type]

    def test_a_short_run_of_make_fuzz(self) -> None:
        """Twenty thousand mutated conversations, the same at every run."""
        fuzz.run(20_000, seed=1)
