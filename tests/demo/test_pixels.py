"""Pixel formats: the common ones by Pillow, all others one by one, with the same result."""

from __future__ import annotations

from PIL import Image
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.demo.pixels import PixelFormat

_RED, _MIXED = (255, 0, 0), (0x12, 0x34, 0x56)


def encoded(form: PixelFormat, colour: tuple[int, int, int]) -> bytes:
    return form.encode(Image.new("RGB", (1, 1), colour))


class PixelFormatTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """A format is what its bytes say."""
        form = PixelFormat(16, 16, True, True, (31, 63, 31), (11, 5, 0))
        self.assertEqual(PixelFormat.unpack(form.pack()), form)

    def test_the_common_formats(self) -> None:
        """Three of four bytes are the colours, in the places that the shifts give."""
        self.assertEqual(encoded(PixelFormat(), _MIXED)[:3], b"\x56\x34\x12")
        novnc = PixelFormat(shifts=(0, 8, 16))
        self.assertEqual(encoded(novnc, _MIXED)[:3], b"\x12\x34\x56")
        big = PixelFormat(big_endian=True, shifts=(16, 8, 0))
        self.assertEqual(encoded(big, _MIXED)[1:], b"\x12\x34\x56")

    def test_small_formats(self) -> None:
        """Sixteen and eight bits scale each colour to its maximum."""
        sixteen = PixelFormat(16, 16, False, True, (31, 63, 31), (11, 5, 0))
        self.assertEqual(encoded(sixteen, _RED), b"\x00\xf8")
        eight = PixelFormat(8, 8, False, True, (7, 7, 3), (0, 3, 6))
        self.assertEqual(encoded(eight, _RED), b"\x07")

    def test_odd_shifts(self) -> None:
        """A format that Pillow has no name for is encoded all the same."""
        odd = PixelFormat(shifts=(1, 9, 17))
        value = int.from_bytes(encoded(odd, _MIXED), "little")
        self.assertEqual(value, 0x12 << 1 | 0x34 << 9 | 0x56 << 17)

    def test_what_rfb_does_not_have(self) -> None:
        """Sizes and shifts that make no sense are refused."""
        for form in (PixelFormat(bits=24), PixelFormat(bits=8), PixelFormat(true_colour=False)):
            with self.assertRaises(ValueError):
                PixelFormat.unpack(form.pack())
