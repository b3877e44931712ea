"""The common frames, against plain readings of RFC 6455 §5."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import ws_frame
from vncproxy.splice.frames import (
    HEADER_ROOM,
    LONGEST_COMMON,
    MOST_AT_ONCE,
    Rest,
    put_header,
    take_common,
    take_only,
)

_LENGTHS = (0, 1, 2, 7, 124, 125, 126, 127, 1023, 1024, 1025, 65534, 65535)
_MASKS = st.binary(min_size=4, max_size=4)


def take(data: bytes, longest: int = LONGEST_COMMON) -> tuple[bytes, int, Rest]:
    """Take what can be taken, out of a buffer that holds other bytes behind it."""
    return take_common(bytearray(data + b"\x82\x80\x00 of another session"), len(data), longest)


class HeaderTests(SynchronousTestCase):
    def test_every_form_of_length(self) -> None:
        """The header stands right before the payload, in its shortest form."""
        for length in (*_LENGTHS, 65536, 200_000):
            payload = bytes(length)
            buffer = bytearray(HEADER_ROOM) + payload
            start = put_header(buffer, length)
            self.assertEqual(bytes(buffer[start:]), ws_frame(payload, mask=None))


class OnlyFrameTests(SynchronousTestCase):
    def test_every_length(self) -> None:
        """A short frame that is all there is comes out at once; nothing else does."""
        for length in range(126):
            payload = bytes(range(3, 3 + length))
            frame = ws_frame(payload, mask=b"\x01\x80\xfe\x7f")
            self.assertEqual(take_only(bytearray(frame + b"rest"), len(frame)), payload)
            for other in (frame[:-1], frame + b"\x82", b"\x89" + frame[1:]):
                if len(other) > 1:
                    self.assertIsNone(take_only(bytearray(other + b"rest"), len(other)))
        longer = ws_frame(bytes(126), mask=b"abcd")
        self.assertIsNone(take_only(bytearray(longer), len(longer)))

    @given(st.binary(min_size=2, max_size=140))
    def test_any_bytes(self, data: bytes) -> None:
        """What is taken is what the plain reading takes."""
        payload = take_only(bytearray(data), len(data))
        if payload:
            self.assertEqual(take(data), (payload, len(data), Rest.BEGINNING))


class CommonFrameTests(SynchronousTestCase):
    def test_every_length(self) -> None:
        """A frame's payload comes out unmasked, whatever its length."""
        for length in _LENGTHS[1:]:
            payload = bytes(i % 251 for i in range(length))
            frame = ws_frame(payload, mask=b"\x01\x80\xfe\x7f")
            self.assertEqual(take(frame), (payload, len(frame), Rest.BEGINNING))

    def test_many(self) -> None:
        """Of any number of tiny frames so many are taken as cost no time, and no more."""
        one = ws_frame(b"k", mask=b"abcd")
        wire = one * (MOST_AT_ONCE + 1)
        at_once = MOST_AT_ONCE * len(one)
        self.assertEqual(take(wire), (b"k" * MOST_AT_ONCE, at_once, Rest.MORE))
        self.assertEqual(take(wire[: at_once - 1])[2], Rest.BEGINNING)

    @given(st.lists(st.tuples(st.binary(min_size=1, max_size=300), _MASKS), max_size=5), st.data())
    def test_any_cut(self, frames: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
        """Of frames cut anywhere the whole ones come out; the rest is worth waiting for."""
        wires = [ws_frame(payload, mask=mask) for payload, mask in frames]
        wire = b"".join(wires)
        cut = data.draw(st.integers(0, len(wire)))
        payload, taken, behind = take(wire[:cut])
        whole = 0
        while sum(map(len, wires[: whole + 1])) <= cut and whole < len(wires):
            whole += 1
        self.assertEqual(payload, b"".join(p for p, _ in frames[:whole]))
        self.assertEqual(taken, sum(map(len, wires[:whole])))
        self.assertIs(behind, Rest.BEGINNING)

    def test_every_other_frame(self) -> None:
        """What is no final, masked, binary frame in its shortest form is left where it is."""
        good = ws_frame(b"key", mask=b"abcd")
        for other in (
            *(bytes([first]) + good[1:] for first in range(256) if first != 0x82),
            ws_frame(b"unmasked", mask=None),
            ws_frame(b"", mask=b"abcd"),  # the protocol counts them
            b"\x82\xfe\x00\x7d" + b"abcd" + bytes(125),  # a length that fits into 7 bits
            b"\x82\xff" + (65536).to_bytes(8, "big") + b"abcd" + bytes(65536),
        ):
            self.assertEqual(take(good + other), (b"key", len(good), Rest.OTHER), other[:4])

    def test_too_long(self) -> None:
        """A frame over the limit is left too, as soon as its length is there."""
        frame = ws_frame(bytes(2001), mask=b"abcd")
        self.assertEqual(take(frame, 2001)[1], len(frame))
        self.assertEqual(take(frame, 2000), (b"", 0, Rest.OTHER))
        self.assertEqual(take(frame[:4], 2000), (b"", 0, Rest.OTHER))

    @given(st.binary(max_size=64))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever bytes come, none beyond them is looked at, and none is taken twice."""
        payload, taken, _ = take(data)
        self.assertLessEqual(taken, len(data))
        self.assertLessEqual(len(payload), taken)
