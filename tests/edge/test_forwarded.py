"""Whose word about the client's address is believed."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.edge.forwarded import Hop, client_of, forwarded, scheme_of, x_forwarded_for
from vncproxy.edge.networks import TrustedProxies, plain_address

BALANCERS = TrustedProxies(["10.0.0.0/24", "2001:db8:ba1::/48", "unix"])


class NetworksTests(SynchronousTestCase):
    def test_membership(self) -> None:
        """Networks of both families, IPv4 in its IPv6 form, zones, and UNIX sockets."""
        for host in ("10.0.0.9", "::ffff:10.0.0.9", "2001:db8:ba1::1", None):
            self.assertIn(host, BALANCERS)
        for stranger in ("10.0.1.9", "::ffff:10.0.1.9", "2001:db8::1", "", "localhost"):
            self.assertNotIn(stranger, BALANCERS)
        self.assertNotIn(None, TrustedProxies(["10.0.0.0/24"]))
        self.assertIn("fe80::1%eth0", TrustedProxies(["fe80::/10"]))

    def test_nobody(self) -> None:
        """An empty list trusts nobody, and says so."""
        self.assertFalse(TrustedProxies())
        self.assertNotIn("127.0.0.1", TrustedProxies())

    def test_bad_items(self) -> None:
        """A name, or a network with bits of a host, is refused, and nothing is changed."""
        trusted = TrustedProxies(["unix"])
        for item in ("balancer.example", "10.0.0.1/24", "", "10.0.0.0/33"):
            self.assertRaises(ValueError, trusted.replace, [item])
        self.assertIn(None, trusted)

    def test_one_form(self) -> None:
        """An address has one form, whatever socket it came by."""
        self.assertEqual(plain_address("::FFFF:192.0.2.1"), "192.0.2.1")
        self.assertEqual(plain_address("2001:DB8:0::1"), "2001:db8::1")
        for text in (
            "unknown",
            "192.0.2.1%eth0",
            "192.0.2.1%",
            "fe80::1%",
            "::1 ",
            "[::1]",
            "01.2.3.4",
        ):
            self.assertIsNone(plain_address(text), text)


class HopsTests(SynchronousTestCase):
    def test_x_forwarded_for(self) -> None:
        """Lists, several headers, ports, brackets, and what is no address."""
        values = ["192.0.2.1, 192.0.2.2:5000", "[2001:db8::1]:443,2001:db8::2 , unknown,"]
        self.assertEqual(
            [hop.client for hop in x_forwarded_for(values)],
            ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", None],
        )

    def test_a_node_in_another_form(self) -> None:
        """An address with anything beside it is none, and nothing before it counts."""
        for text in (
            *("192.0.2.1:x", "192.0.2.1:", "192.0.2.1:80:80", "[2001:db8::1]x", "[2001:db8::1"),
            *("[192.0.2.1]", "[]", "x[::1]", "192.0.2.1 192.0.2.2", "a@192.0.2.1", "192.0.2.1%0"),
        ):
            self.assertEqual(x_forwarded_for([text]), [Hop(None)], text)
        for text in ("192.0.2.1:_a1", "192.0.2.1"):
            self.assertEqual(x_forwarded_for([text]), [Hop("192.0.2.1")], text)

    def test_schemes(self) -> None:
        """X-Forwarded-Proto is one word of four, in any case, or says nothing."""
        for values, scheme in (
            ([], None),
            ([b""], None),
            ([b" ", b""], None),
            ([b"https"], "https"),
            ([b" HTTPS ", b""], "https"),
            ([b"wss"], "wss"),
        ):
            self.assertEqual(scheme_of(values), scheme, values)
        for bad in (b"https, http", b"https,", b"ftp", b"https://", b"null", b"\xff", b"http s"):
            self.assertRaises(ValueError, scheme_of, [bad])
        self.assertRaises(ValueError, scheme_of, [b"https", b"https"])

    def test_forwarded(self) -> None:
        """The examples of RFC 7239 §4, and what only looks like it."""
        for value, hops in {
            'for="_gazonk"': [Hop(None)],
            'For="[2001:db8:cafe::17]:4711"': [Hop("2001:db8:cafe::17")],
            "for=192.0.2.60;proto=http;by=203.0.113.43": [Hop("192.0.2.60", "http")],
            "for=192.0.2.43, for=198.51.100.17": [Hop("192.0.2.43"), Hop("198.51.100.17")],
            'for="192.0.2.1:80";proto="HTTPS"': [Hop("192.0.2.1", "https")],
            'for="192.0.2.1, for=192.0.2.2': [Hop(None), Hop("192.0.2.2")],
            r'by="a\"b";for=192.0.2.1': [Hop("192.0.2.1")],
            "proto=https": [Hop(None, "https")],
            "": [],
        }.items():
            self.assertEqual(forwarded([value]), hops, value)

    @given(st.lists(st.text(max_size=60), max_size=4))
    def test_any_text(self, values: list[str]) -> None:
        """Any text at all is read, as hops whose addresses are addresses."""
        for hop in (*x_forwarded_for(values), *forwarded(values)):
            self.assertTrue(hop.client is None or plain_address(hop.client) == hop.client)

    @given(
        st.lists(st.ip_addresses(), min_size=1, max_size=8),
        st.sampled_from(["http", "https"]),
    )
    def test_what_balancers_say_is_heard(self, addresses: list[object], proto: str) -> None:
        """Addresses come out as they went in."""
        plain = [plain_address(str(address)) for address in addresses]
        nodes = [f"[{a}]" if ":" in str(a) else str(a) for a in addresses]
        said = ", ".join(f'for="{node}:1";proto={proto}' for node in nodes)
        self.assertEqual([hop.client for hop in forwarded([said])], plain)
        self.assertEqual({hop.proto for hop in forwarded([said])}, {proto})
        said = ", ".join(str(address) for address in addresses)
        self.assertEqual([hop.client for hop in x_forwarded_for([said])], plain)

    def test_a_long_header(self) -> None:
        """What somebody sends beyond 4 KB is not looked at, nor believed; balancers are heard."""
        long = ",".join(["for=192.0.2.66"] * 4000) + ', for=192.0.2.1, for="10.0.0.1"'
        begun = time.process_time()
        for _ in range(20):
            hops = forwarded([long])
        self.assertLess(time.process_time() - begun, 0.2)  # it was 2 s
        self.assertEqual([hop.client for hop in hops[-2:]], ["192.0.2.1", "10.0.0.1"])
        self.assertEqual(forwarded(["for=10.0.0.1;by=" + "x" * 5000]), [Hop(None)])


class ClientTests(SynchronousTestCase):
    def client(self, peer: str | None, said: str) -> str | None:
        return client_of(peer, x_forwarded_for([said]), BALANCERS).client

    def test_a_stranger(self) -> None:
        """Who is no balancer is the client, whatever it says."""
        self.assertEqual(self.client("198.51.100.1", "192.0.2.1"), "198.51.100.1")

    def test_one_balancer(self) -> None:
        """Its word counts, and not what the client said before."""
        self.assertEqual(self.client("10.0.0.1", "1.2.3.4, 192.0.2.1"), "192.0.2.1")
        self.assertEqual(self.client("::ffff:10.0.0.1", "192.0.2.1"), "192.0.2.1")
        self.assertEqual(self.client(None, "192.0.2.1"), "192.0.2.1")

    def test_a_chain(self) -> None:
        """Balancers that are named by balancers count too."""
        self.assertEqual(self.client("10.0.0.1", "1.2.3.4, 192.0.2.1, 10.0.0.2"), "192.0.2.1")

    def test_a_balancer_that_says_nothing(self) -> None:
        """Without the header, or with no address in it, the balancer is the client."""
        for said in ("", "unknown", "192.0.2.1, _hidden", "192.0.2.1, 999.1.1.1"):
            self.assertEqual(self.client("10.0.0.1", said), "10.0.0.1")
