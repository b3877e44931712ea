"""What the parent and a worker say: values of any length survive AMP's limit of 64 KiB."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.workers.links import Wires
from vncproxy.workers.commands import Link, Metrics


class _Worker(Link):
    exposition = b""

    @Metrics.responder
    def metrics(self) -> dict[str, bytes]:
        return {"exposition": self.exposition}


class LongTests(SynchronousTestCase):
    def answer_of(self, exposition: bytes) -> bytes:
        parent, worker = Link(), _Worker()
        worker.exposition = exposition
        wires = Wires(parent, worker)
        asked = parent.callRemote(Metrics)
        wires.carry()
        answer: bytes = self.successResultOf(asked)["exposition"]
        return answer

    def test_sizes_around_the_limit(self) -> None:
        """Nothing is lost where values are cut in pieces."""
        for size in (0, 1, 65534, 65535, 65536, 131070, 131071, 1_000_000):
            sent = bytes(range(256)) * (size // 256) + bytes(size % 256)
            self.assertEqual(self.answer_of(sent), sent, size)

    @given(st.binary(max_size=4000), st.integers(1, 200))
    def test_any_bytes(self, piece: bytes, times: int) -> None:
        """Whatever the bytes are, they arrive."""
        self.assertEqual(self.answer_of(piece * times), piece * times)
