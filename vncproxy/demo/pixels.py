"""Pixel formats of RFB (RFC 6143 §7.4): a picture's pixels as a client wants them. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from PIL import Image

_FORMAT = struct.Struct("!BBBBHHHBBB3x")


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How a client wants pixels; maxima and shifts are of red, green, blue."""

    bits: int = 32
    depth: int = 24
    big_endian: bool = False
    true_colour: bool = True
    maxima: tuple[int, int, int] = (255, 255, 255)
    shifts: tuple[int, int, int] = (16, 8, 0)

    def pack(self) -> bytes:
        """Return the format's 16 bytes on the wire."""
        flags = (self.bits, self.depth, int(self.big_endian), int(self.true_colour))
        return _FORMAT.pack(*flags, *self.maxima, *self.shifts)

    @classmethod
    def unpack(cls, data: bytes) -> PixelFormat:
        """Return the format of these 16 bytes.

        Raises:
            ValueError: a format without true colours, or with sizes that RFB does not have.
        """
        bits, depth, big_endian, true_colour, *colours = _FORMAT.unpack(data)
        red, green, blue, *shifts = colours
        if bits not in (8, 16, 32) or not true_colour or max(shifts) >= bits:
            raise ValueError("not a true-colour format of 8, 16 or 32 bits")
        return cls(bits, depth, bool(big_endian), True, (red, green, blue), tuple(shifts))

    def encode(self, image: Image.Image) -> bytes:
        """Return an RGB image's pixels, row by row."""
        raw_mode = self._raw_mode()
        if raw_mode is not None:
            return image.convert("RGBA").tobytes("raw", raw_mode)
        return self._encode_slowly(image)

    def _raw_mode(self) -> str | None:
        """Return Pillow's name of this format, if it is one of the common ones."""
        if self.bits != 32 or self.maxima != (255, 255, 255):
            return None
        places = ["X"] * 4
        for name, shift in zip("RGB", self.shifts, strict=True):
            if shift % 8:
                return None
            places[3 - shift // 8 if self.big_endian else shift // 8] = name
        mode = "".join(places)
        return mode.replace("X", "A") if mode in ("RGBX", "BGRX", "XBGR") else None

    def _encode_slowly(self, image: Image.Image) -> bytes:
        code = {8: "B", 16: "H", 32: "I"}[self.bits]
        order = ">" if self.big_endian else "<"
        tables = [
            [value * top // 255 << shift for value in range(256)]
            for top, shift in zip(self.maxima, self.shifts, strict=True)
        ]
        channels = [band.tobytes() for band in image.split()[:3]]
        values = [
            tables[0][red] | tables[1][green] | tables[2][blue]
            for red, green, blue in zip(*channels, strict=True)
        ]
        mask = (1 << self.bits) - 1
        return struct.pack(f"{order}{len(values)}{code}", *(value & mask for value in values))
