"""The constants and fixed messages of RFB's handshake, by section of RFC 6143.

Pure: bytes and values only.
"""

from __future__ import annotations

import enum
import re
import struct
from collections.abc import Iterable

from vncproxy.rfb.reader import ByteReader, Steps

# §7.1.1 ProtocolVersion

VERSION_BYTES = 12
_VERSION = re.compile(rb"RFB (\d{3})\.(\d{3})\n")


class Version(enum.Enum):
    """The versions that a handshake can follow."""

    V3_3 = (3, 3)
    V3_7 = (3, 7)
    V3_8 = (3, 8)

    @property
    def message(self) -> bytes:
        """The ProtocolVersion message that announces this version."""
        major, minor = self.value
        return b"RFB %03d.%03d\n" % (major, minor)


def version_of(message: bytes) -> Version | None:
    """Return the newest standard version that the sender of a ProtocolVersion is compatible with.

    The odd numbers in the wild: Apple's 3.889, UltraVNC's 3.14 and 3.16, and RealVNC's 4.0 to 5.0
    follow 3.8; UltraVNC's 3.4 and 3.6, and 3.5 by §7.1.1, follow 3.3.

    Returns:
        None where the message is none, or names a version below 3.3, as a UltraVNC repeater does.
    """
    match = _VERSION.fullmatch(message)
    if match is None:
        return None
    announced = (int(match[1]), int(match[2]))
    if announced < (3, 3):
        return None
    return max((v for v in Version if v.value <= announced), key=lambda v: v.value)


# §7.1.2 Security


class Security(enum.IntEnum):
    """The security types that this gateway speaks; there are more, which it names by number."""

    INVALID = 0
    NONE = 1
    VNC = 2
    VENCRYPT = 19


_NAMES = {
    0: "invalid",
    1: "none",
    2: "VNC authentication",
    5: "RA2",
    6: "RA2ne",
    16: "Tight",
    17: "Ultra",
    18: "TLS",
    19: "VeNCrypt",
    20: "SASL",
    22: "xvp",
    30: "ARD",
    113: "MS-Logon II",
    129: "RA-256",
}


def security_name(number: int) -> str:
    """Return a security type as a person names it, whether known or not."""
    return f"{_NAMES.get(number, 'unknown')} ({number})"


def security_names(numbers: Iterable[int]) -> str:
    """Return a list of security types for the log."""
    return ", ".join(security_name(number) for number in numbers) or "nothing"


# §7.1.3 SecurityResult

RESULT_OK = struct.pack("!I", 0)
RESULT_FAILED = struct.pack("!I", 1)
RESULT_TOO_MANY = 2  # not of the RFC: old servers end so after too many attempts


def reason_message(reason: str) -> bytes:
    """Return a reason for a failure: its length, and its text."""
    text = reason.encode()
    return struct.pack("!I", len(text)) + text


def read_u32(reader: ByteReader) -> Steps[int]:
    """Return the next four bytes as a number."""
    (number,) = struct.unpack("!I", (yield from reader.exactly(4)))
    return int(number)


def read_reason(reader: ByteReader, limit_bytes: int) -> Steps[str]:
    """Return a failure's reason, escaped for a log; one that is over the limit is not read."""
    length = yield from read_u32(reader)
    if length > limit_bytes:
        return f"a reason of {length} bytes, which was not read"
    return ascii((yield from reader.exactly(length)).decode("utf-8", "replace"))


# VeNCrypt 0.2, whose document is part of the community's RFB specification

VENCRYPT_VERSION = b"\0\2"


class Subtype(enum.IntEnum):
    """The VeNCrypt sub-types that this gateway speaks. Plain (256) is not: it encrypts nothing."""

    TLS_NONE = 257
    TLS_VNC = 258
    TLS_PLAIN = 259
    X509_NONE = 260
    X509_VNC = 261
    X509_PLAIN = 262


_SUBTYPE_NAMES = {
    256: "Plain",
    257: "TLSNone",
    258: "TLSVnc",
    259: "TLSPlain",
    260: "X509None",
    261: "X509Vnc",
    262: "X509Plain",
    263: "X509SASL",
    264: "TLSSASL",
}


def subtype_names(numbers: Iterable[int]) -> str:
    """Return a list of VeNCrypt sub-types for the log."""
    named = [f"{_SUBTYPE_NAMES.get(number, 'unknown')} ({number})" for number in numbers]
    return ", ".join(named) or "nothing"
