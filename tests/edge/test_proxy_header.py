"""The PROXY protocol's header: what balancers send, in every split, and what they don't."""

from __future__ import annotations

import ipaddress
import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import every_split
from vncproxy.edge.proxy_header import ProxyHeader, ProxyHeaderError, parse_proxy_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version_1(family: str, source: str, port: int) -> bytes:
    """Return a header of version 1; the destination does not matter."""
    return f"PROXY {family} {source} {source} {port} 6080\r\n".encode()


def version_2(source: str, port: int, tlvs: bytes = b"", command: int = 0x21) -> bytes:
    """Return a header of version 2; the destination does not matter."""
    address = ipaddress.ip_address(source)
    block = address.packed + address.packed + struct.pack("!HH", port, 6080) + tlvs
    family = 0x11 if address.version == 4 else 0x21
    return SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


def raw_2(command: int, family: int, block: bytes) -> bytes:
    """Return a header of version 2 with these parts."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


GOOD: dict[bytes, tuple[str, int] | None] = {
    version_1("TCP4", "192.0.2.7", 50000): ("192.0.2.7", 50000),
    version_1("TCP6", "2001:db8::7", 65535): ("2001:db8::7", 65535),
    version_1("TCP6", "::ffff:192.0.2.7", 1): ("192.0.2.7", 1),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff:f... ffff:f... 65535 65535\r\n": None,
    version_2("192.0.2.7", 50000): ("192.0.2.7", 50000),
    version_2("2001:db8::7", 443): ("2001:db8::7", 443),
    version_2("192.0.2.7", 50000, tlvs=b"\x04\x00\x04abcd"): ("192.0.2.7", 50000),
    version_2("192.0.2.7", 50000, command=0x20): None,
    raw_2(0x20, 0, b""): None,
    raw_2(0x21, 0x00, b"whatever"): None,
    raw_2(0x21, 0x31, bytes(216)): None,
}
BAD = (
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00",
    b"PROXY TCP4 192.0.2.7 192.0.2.8 50000\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.8 50000 6080 1\r\n",
    b"PROXY TCP4 192.0.2.07 192.0.2.8 50000 6080\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::8 50000 6080\r\n",
    b"PROXY TCP6 192.0.2.7 192.0.2.8 50000 6080\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.8 050000 6080\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.8 65536 6080\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.8 -1 6080\r\n",
    b"PROXY  TCP4 192.0.2.7 192.0.2.8 50000 6080\r\n",
    b"PROXY UDP4 192.0.2.7 192.0.2.8 50000 6080\r\n",
    b"PROXY TCP4 \xff\xfe\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4 " + b"1" * 200,
    SIGNATURE + b"\x31\x11\x00\x0c",
    SIGNATURE + b"\x22\x11\x00\x0c",
    SIGNATURE + b"\x21\x11\x10\x00",
    raw_2(0x21, 0x11, bytes(11)),
    raw_2(0x21, 0x21, bytes(35)),
)


def drip(pieces: list[bytes]) -> tuple[ProxyHeader | None, bytes]:
    """Parse as a connection does, after each piece; return the header, and the bytes behind it."""
    held = b""
    for piece in pieces:
        held += piece
        header = parse_proxy_header(held)
        if header is not None:
            return header, held[header.length :]
    return None, held


class ProxyHeaderTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """Each header is found in every split, and takes none of the client's bytes."""
        for wire, client in GOOD.items():
            for pieces in every_split(wire):
                header, rest = drip(pieces)
                self.assertEqual(header, ProxyHeader(len(wire), client), wire)
                self.assertEqual(rest, b"")
            self.assertEqual(parse_proxy_header(wire + b"GET / HTT"), header)

    def test_what_is_none(self) -> None:
        """Everything else is refused, in every split."""
        for wire in BAD:
            for pieces in every_split(wire):
                self.assertRaises(ProxyHeaderError, drip, pieces)

    def test_it_is_refused_early(self) -> None:
        """A first byte that can't begin a header is enough; so is a length that is too large."""
        self.assertRaises(ProxyHeaderError, parse_proxy_header, b"G")
        self.assertIsNone(parse_proxy_header(b"P"))
        self.assertRaises(ProxyHeaderError, parse_proxy_header, b"POST")
        self.assertIsNone(parse_proxy_header(SIGNATURE + b"\x21\x11\x0f\xf0"))
        self.assertRaises(ProxyHeaderError, parse_proxy_header, SIGNATURE + b"\x21\x11\x0f\xf1")

    def test_a_gigabyte_in_drips(self) -> None:
        """However long a peer sends, no more than some bytes are ever kept for it."""
        for start in (b"PROXY TCP4 ", SIGNATURE + b"\x21\x11\xff\xff", b"PROXY UNKNOWN "):
            kept = start
            with self.assertRaises(ProxyHeaderError):
                while len(kept) < 1 << 30:
                    parse_proxy_header(kept)
                    kept += b"1"
            self.assertLess(len(kept), 4097)

    @given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", SIGNATURE, b"PROXY TCP4 "]))
    def test_any_bytes(self, data: bytes, start: bytes) -> None:
        """Any bytes at all are a header, the beginning of one, or refused."""
        try:
            header = parse_proxy_header(start + data)
        except ProxyHeaderError:
            return
        self.assertTrue(header is None or header.length <= len(start + data))

    @given(
        st.ip_addresses(),
        st.integers(0, 65535),
        st.binary(max_size=60),
        st.binary(max_size=40),
        st.data(),
    )
    def test_what_was_said_is_heard(
        self,
        address: ipaddress.IPv4Address | ipaddress.IPv6Address,
        port: int,
        tlvs: bytes,
        rest: bytes,
        data: st.DataObject,
    ) -> None:
        """Every address comes out as it went in, by both versions, cut anywhere."""
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        for wire in (
            version_1(f"TCP{address.version}", str(address), port),
            version_2(str(address), port, tlvs),
        ):
            cut = data.draw(st.integers(0, len(wire) - 1))
            header, behind = drip([wire[:cut], wire[cut:] + rest])
            assert header is not None
            self.assertEqual(header.client, (str(mapped or address), port))
            self.assertEqual(behind, rest)
