"""Where consoles may be: the rules."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vncproxy.config.read import ConfigError
from vncproxy.errors import TargetForbidden
from vncproxy.target_rules import TargetRules

_METADATA = (
    *("169.254.169.254", "169.254.0.23", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *(
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "fe80::a9fe:a9fe",
    ),
)
# Each is 169.254.169.254 within an IPv6 address.
_EMBEDDED = (
    "::ffff:169.254.169.254",  # IPv4-mapped, RFC 4291
    "::ffff:a9fe:a9fe",
    "::a9fe:a9fe",  # IPv4-compatible, RFC 4291
    "::ffff:0:a9fe:a9fe",  # IPv4-translated, RFC 2765
    "64:ff9b::a9fe:a9fe",  # NAT64, RFC 6052
    "64:ff9b:1::a9fe:a9fe",  # local NAT64, RFC 8215: wherever in it
    "64:ff9b:1:a9fe:a9:fe00::",
    "2002:a9fe:a9fe::1",  # 6to4, RFC 3056
    "2001:0:a9fe:a9fe::",  # Teredo, RFC 4380: as its server, and as its client, flipped
    "2001:0:c000:201:8000:63bf:5601:5601",
    "2001:db8::5efe:a9fe:a9fe",  # ISATAP, RFC 5214
    "2001:db8::200:5efe:a9fe:a9fe",
    "64:ff9b::a83f:8110",  # 168.63.129.16
)


class TargetRulesTests(SynchronousTestCase):
    def test_anywhere(self) -> None:
        """Unset, consoles may be anywhere but where no console is."""
        rules = TargetRules()
        for address in (
            *("127.0.0.1", "::1", "10.0.0.5", "8.8.8.8", "2001:db8::1", "fd00::1", "2001:4860::1"),
            *("::ffff:10.0.0.5", "64:ff9b::a00:5", "2002:a00:5::1", "fd00::5efe:a00:5"),
        ):
            self.assertTrue(rules.allow(address), address)
        for address in ("0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1", "fe80::1%eth0"):
            self.assertFalse(rules.allow(address), address)
        for address in (*_METADATA, "::ffff:0.0.0.0", "::2", "no address", ""):
            self.assertFalse(rules.allow(address), address)
        rules.check_port(1)

    def test_embedded_addresses(self) -> None:
        """An IPv4 address within an IPv6 address is judged as what it is."""
        rules = TargetRules()
        for address in _EMBEDDED:
            self.assertFalse(rules.allow(address), address)
            self.assertFalse(rules.allow(f"{address}%eth0"), address)
        rules = TargetRules(["10.1.0.0/16", "2000::/3"])
        for address in _EMBEDDED[:7]:
            self.assertFalse(rules.allow(address), address)
        self.assertFalse(rules.allow("2002:a9fe:a9fe::1"))
        for address in ("::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1", "2001:db8::1"):
            self.assertTrue(rules.allow(address), address)
        rules = TargetRules(["64:ff9b::/96", "64:ff9b:1::/48"])  # the operator means these
        for address in ("64:ff9b::a00:5", "64:ff9b:1::a00:5"):
            self.assertTrue(rules.allow(address), address)
        self.assertFalse(rules.allow("10.0.0.5"))

    def test_networks(self) -> None:
        """Set, they may be there and nowhere else, also where they usually are not."""
        rules = TargetRules(["10.1.0.0/16", "fd00:1::/64", "169.254.0.0/16"])
        for address in ("10.1.255.1", "fd00:1::7", "::ffff:10.1.2.3", "169.254.1.1"):
            self.assertTrue(rules.allow(address), address)
        for address in ("10.2.0.1", "127.0.0.1", "fd00:2::7", "::1", "::ffff:10.2.0.1"):
            self.assertFalse(rules.allow(address), address)
        for ours in (False, True):
            with self.assertRaises(TargetForbidden):
                rules.check_socket("/run/consoles/vm.sock", ours)

    def test_ports(self) -> None:
        """Single ports and ranges, both ends included."""
        rules = TargetRules(ports=["5900-5999", "10000"])
        for port in (5900, 5999, 10000):
            rules.check_port(port)
        for port in (22, 5899, 6000, 9999, 10001):
            with self.assertRaises(TargetForbidden):
                rules.check_port(port)

    def test_sockets(self) -> None:
        """A UNIX socket must be below one of the directories, whose own links are followed."""
        with tempfile.TemporaryDirectory() as directory:
            consoles, link = Path(directory, "consoles").resolve(), Path(directory, "link")
            link.symlink_to(consoles)
            rules = TargetRules([str(link)])
            for ours in (False, True):
                rules.check_socket(f"{consoles}/vm.sock", ours)
                rules.check_socket(f"{consoles}/deeper/vm.sock", ours)
                for path in (f"{consoles}", f"{consoles}-evil/x", "/run/docker.sock", "/", "x", ""):
                    with self.assertRaises(TargetForbidden):
                        rules.check_socket(path, ours)

    def test_sockets_of_other_peoples_tokens(self) -> None:
        """Where no directory is named, only tokens of the gateway's own database lead to any."""
        rules = TargetRules()
        rules.check_socket("/run/vm.sock", ours=True)
        with self.assertRaisesRegex(TargetForbidden, r"name its directory in .* target_networks"):
            rules.check_socket("/run/vm.sock", ours=False)

    def test_mistakes(self) -> None:
        """What is neither network nor port is one line that says how to write it."""
        for rules in ((), None), (None, ()):
            with self.assertRaisesRegex(ConfigError, "it is empty; say where consoles may be"):
                TargetRules(*rules)
        for networks in (["10.1.0.0/33"], ["example.com"], ["10.1.0.1/16"], [""]):
            with self.assertRaisesRegex(ConfigError, r"target_networks: .*write 10\.1"):
                TargetRules(networks)
        for ports in (["vnc"], ["0"], ["65536"], ["6000-5900"], ["1-2-3"], [""]):
            with self.assertRaisesRegex(ConfigError, "target_ports: .*write 5900"):
                TargetRules(ports=ports)
