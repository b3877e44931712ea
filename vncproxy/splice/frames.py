"""The two frames that nearly all of a console's traffic is made of (RFC 6455 §5.2).

Towards the client each piece of the stream is one final, unmasked binary frame. From the client
come final, masked binary frames, mostly of a few bytes. Pure: bytes and values only; whatever is
another frame is left alone, for the WebSocket's protocol object to judge.
"""

from __future__ import annotations

import enum
from struct import Struct

from autobahn.websocket.xormasker import create_xor_masker  # type: ignore[attr-defined]

HEADER_ROOM = 10  # bytes; the longest header of an unmasked frame
LONGEST_COMMON = 0xFFFF  # bytes of payload; a longer frame has another form of length

MOST_AT_ONCE = 1024  # frames; under a millisecond, however small they are

_FINAL_BINARY = 0x82
_MASKED = 0x80
_LENGTH_IN_16_BITS = 126
_LENGTH_IN_64_BITS = 127
_HEADER_16 = Struct("!BBH").pack_into
_HEADER_64 = Struct("!BBQ").pack_into
# By length of payload: what repeats a mask of 4 bytes over it, and what cuts off the excess.
_REPEATED = [sum(1 << 32 * i for i in range((n + 3) // 4)) for n in range(_LENGTH_IN_16_BITS)]
_ALL_ONES = [(1 << 8 * n) - 1 for n in range(_LENGTH_IN_16_BITS)]
_SHORT_PAYLOAD = 1024  # up to here one big xor beats a call of the C masker (measured)


class Rest(enum.Enum):
    """What may stand behind the common frames that were taken."""

    BEGINNING = "nothing, or the beginning of one more, so that it is worth waiting for"
    OTHER = "another frame"
    MORE = "as many were taken as are at once"


def put_header(buffer: bytearray, length: int) -> int:
    """Write the header of the frame whose payload stands at ``buffer[HEADER_ROOM:]``.

    Args:
        buffer: to write into.
        length: bytes of payload.

    Returns:
        Where in the buffer the frame begins.
    """
    if length < _LENGTH_IN_16_BITS:
        buffer[8] = _FINAL_BINARY
        buffer[9] = length
        return 8
    if length <= LONGEST_COMMON:
        _HEADER_16(buffer, 6, _FINAL_BINARY, _LENGTH_IN_16_BITS, length)
        return 6
    _HEADER_64(buffer, 0, _FINAL_BINARY, _LENGTH_IN_64_BITS, length)
    return 0


def take_only(data: bytearray, end: int) -> bytes | None:
    """Return the payload, if ``data`` is one short common frame and nothing else; else None.

    The payload of an empty one is empty.

    It is what a key or a movement of the pointer comes in, so it has a way of its own.

    Args:
        data: begins with a frame.
        end: how many bytes of ``data`` count, > 1.
    """
    length = end - 6
    if data[0] != _FINAL_BINARY or data[1] != _MASKED + length or length >= _LENGTH_IN_16_BITS:
        return None
    mask = int.from_bytes(data[2:6], "little") * _REPEATED[length]
    masked = int.from_bytes(data[6:end], "little")
    return ((masked ^ mask) & _ALL_ONES[length]).to_bytes(length, "little")


def take_common(data: bytearray, end: int, longest: int) -> tuple[bytes, int, Rest]:
    """Take the common frames off the beginning of what a client sent, but none that is empty.

    Args:
        data: begins with a frame.
        end: how many bytes of ``data`` count.
        longest: bytes of the longest payload to take, at most ``LONGEST_COMMON``.

    Returns:
        Their payloads joined; how many bytes of ``data`` they took; and what comes behind.
    """
    pieces: list[bytes] = []
    start = 0
    while end - start >= 2:
        length = data[start + 1] - _MASKED
        body = start + 6
        if data[start] != _FINAL_BINARY or length <= 0 or length == _LENGTH_IN_64_BITS:
            return _joined(pieces), start, Rest.OTHER
        if length == _LENGTH_IN_16_BITS:
            if end - start < 4:
                return _joined(pieces), start, Rest.BEGINNING
            length = (data[start + 2] << 8) + data[start + 3]
            body = start + 8
            if length < _LENGTH_IN_16_BITS:  # not the shortest form: an error of the client's
                return _joined(pieces), start, Rest.OTHER
        if length > longest:
            return _joined(pieces), start, Rest.OTHER
        if body + length > end:
            return _joined(pieces), start, Rest.BEGINNING
        pieces.append(_unmasked(data, body, length))
        start = body + length
        if len(pieces) == MOST_AT_ONCE:
            return _joined(pieces), start, Rest.MORE
    waits = start == end or data[start] == _FINAL_BINARY
    return _joined(pieces), start, Rest.BEGINNING if waits else Rest.OTHER


def _joined(pieces: list[bytes]) -> bytes:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _unmasked(data: bytearray, start: int, length: int) -> bytes:
    mask = data[start - 4 : start]
    payload = data[start : start + length]
    if length > _SHORT_PAYLOAD:
        unmasked: bytes = create_xor_masker(bytes(mask), length).process(payload)
        return unmasked
    mask *= (length + 3) >> 2
    return (int.from_bytes(payload, "little") ^ int.from_bytes(mask[:length], "little")).to_bytes(
        length, "little"
    )
