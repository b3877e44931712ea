"""The header of the PROXY protocol, versions 1 and 2: the client's address, from a balancer.

Pure: bytes in, a value out. The protocol is HAProxy's, in its doc/proxy-protocol.txt.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from vncproxy.edge.networks import plain_address

_SIGNATURE_1 = b"PROXY "
_LONGEST_1 = 107  # bytes, line end included (section 2.1)
_SIGNATURE_2 = b"\r\n\r\n\0\r\nQUIT\n"
_LONGEST_2 = 4096  # bytes; the addresses take 52, the rest is of TLVs, which are passed over
_FIXED_2 = struct.Struct("!12sBBH")
_TCP4, _TCP6 = 0x11, 0x21
_PORTS = struct.Struct("!HH")


class ProxyHeaderError(Exception):
    """The bytes are no PROXY header; the text says why."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A whole header.

    Attributes:
        length: bytes that it took; what follows is the client's.
        client: address and port of the client; None where the balancer speaks for itself, or
            for a client that has no address.
    """

    length: int
    client: tuple[str, int] | None


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Return the header that the bytes begin with; None while it is not yet whole.

    Raises:
        ProxyHeaderError: they can't become one, which is found out as early as it can be.
    """
    if data[:6] == _SIGNATURE_1[: len(data)]:
        return _version_1(data)
    if data[:12] == _SIGNATURE_2[: len(data)]:
        return _version_2(data)
    raise ProxyHeaderError("a PROXY header was expected, and other bytes came")


def _version_1(data: bytes) -> ProxyHeader | None:
    line, end, _ = data[:_LONGEST_1].partition(b"\r\n")
    if not end:
        if len(data) >= _LONGEST_1:
            raise ProxyHeaderError(f"a PROXY header of more than {_LONGEST_1} bytes")
        return None
    length = len(line) + len(end)
    words = line.decode("ascii", "replace").split(" ")
    if words[1] == "UNKNOWN":
        return ProxyHeader(length, None)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise ProxyHeaderError("a PROXY line of another form than PROXY TCP4|TCP6 and four words")
    for address in words[2:4]:
        if (":" in address) != (words[1] == "TCP6") or plain_address(address) is None:
            raise ProxyHeaderError(f"a PROXY line whose address is none of {words[1]}")
    ports = [_port(word) for word in words[4:]]
    return ProxyHeader(length, (plain_address(words[2]) or "", ports[0]))


def _port(word: str) -> int:
    if not (word.isascii() and word.isdigit() and str(int(word[:6])) == word):
        raise ProxyHeaderError("a PROXY line whose port is no number")
    port = int(word)
    if port > 65535:
        raise ProxyHeaderError("a PROXY line whose port is too large")
    return port


def _version_2(data: bytes) -> ProxyHeader | None:
    if len(data) < _FIXED_2.size:
        return None
    _, command, family, length = _FIXED_2.unpack_from(data)
    if command not in (0x20, 0x21):
        raise ProxyHeaderError(f"a PROXY header of version and command {command:#04x}")
    whole = _FIXED_2.size + length
    if whole > _LONGEST_2:
        raise ProxyHeaderError(f"a PROXY header of {whole} bytes; {_LONGEST_2} are allowed")
    if len(data) < whole:
        return None
    if command == 0x20:  # LOCAL: a health check of the balancer's own
        return ProxyHeader(whole, None)
    return ProxyHeader(whole, _client_2(family, data[_FIXED_2.size : whole]))


def _client_2(family: int, block: bytes) -> tuple[str, int] | None:
    size = {_TCP4: 4, _TCP6: 16}.get(family)
    if size is None:  # UNIX sockets, datagrams, unspecified: no address that we could use
        return None
    if len(block) < 2 * size + _PORTS.size:
        raise ProxyHeaderError("a PROXY header too short for its addresses")
    source = IPv4Address(block[:size]) if family == _TCP4 else IPv6Address(block[:size])
    port, _ = _PORTS.unpack_from(block, 2 * size)
    return plain_address(str(source)) or "", port
