"""Where consoles may be: the rules, and the addresses behind names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from vncproxy.config.read import ConfigError
from vncproxy.errors import TargetForbidden
from vncproxy.target_address import CheckedEndpoint
from vncproxy.target_rules import TargetRules

_METADATA = ("169.254.169.254", "fe80::1%eth0", "fd00:ec2::254", "::ffff:169.254.169.254")


class TargetRulesTests(SynchronousTestCase):
    def test_anywhere(self) -> None:
        """Unset, consoles may be anywhere but where no console is."""
        rules = TargetRules()
        for address in ("127.0.0.1", "::1", "10.0.0.5", "8.8.8.8", "2001:db8::1", "fd00::1"):
            self.assertTrue(rules.allow(address), address)
        for address in (*_METADATA, "0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1"):
            self.assertFalse(rules.allow(address), address)
        rules.check_port(1)
        rules.check_socket("/anything")

    def test_networks(self) -> None:
        """Set, they may be there and nowhere else, also where they usually are not."""
        rules = TargetRules(["10.1.0.0/16", "fd00:1::/64", "169.254.0.0/16"])
        for address in ("10.1.255.1", "fd00:1::7", "::ffff:10.1.2.3", "169.254.1.1"):
            self.assertTrue(rules.allow(address), address)
        for address in ("10.2.0.1", "127.0.0.1", "fd00:2::7", "::1", "::ffff:10.2.0.1"):
            self.assertFalse(rules.allow(address), address)
        with self.assertRaises(TargetForbidden):
            rules.check_socket("/run/consoles/vm.sock")

    def test_ports(self) -> None:
        """Single ports and ranges, both ends included."""
        rules = TargetRules(ports=["5900-5999", "10000"])
        for port in (5900, 5999, 10000):
            rules.check_port(port)
        for port in (22, 5899, 6000, 9999, 10001):
            with self.assertRaises(TargetForbidden):
                rules.check_port(port)

    def test_sockets(self) -> None:
        """A UNIX socket must be below a directory, after links and dots are followed."""
        with tempfile.TemporaryDirectory() as directory:
            consoles = Path(directory, "consoles")
            consoles.mkdir()
            os.symlink("/run/secret.sock", consoles / "link")
            rules = TargetRules([str(consoles)])
            rules.check_socket(f"{consoles}/vm.sock")
            for path in ("/link", "/../x", "/sub/../../x", "-evil/x"):
                with self.assertRaises(TargetForbidden):
                    rules.check_socket(f"{consoles}{path}")

    def test_mistakes(self) -> None:
        """What is neither network nor port is one line that says how to write it."""
        for networks in (["10.1.0.0/33"], ["example.com"], ["10.1.0.1/16"], [""]):
            with self.assertRaisesRegex(ConfigError, r"target_networks: .*write 10\.1"):
                TargetRules(networks)
        for ports in (["vnc"], ["0"], ["65536"], ["6000-5900"], ["1-2-3"], [""]):
            with self.assertRaisesRegex(ConfigError, "target_ports: .*write 5900"):
                TargetRules(ports=ports)


@implementer(IHostnameResolver)
class _Names:
    """Resolves every name to these addresses, the first ones only once."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        for address in self.answers.pop(0):
            kind = IPv6Address if ":" in address else IPv4Address
            resolutionReceiver.addressResolved(kind("TCP", address, portNumber))
        resolutionReceiver.resolutionComplete()
        return None  # type: ignore[return-value]


class CheckedEndpointTests(SynchronousTestCase):
    def connect(self, *answers: list[str]) -> tuple[MemoryReactorClock, object]:
        reactor = MemoryReactorClock()
        reactor.nameResolver = _Names(*answers)
        endpoint = CheckedEndpoint(reactor, "vm.example", 5900, 10.0, TargetRules())
        return reactor, endpoint.connect(Factory())

    def test_a_name_of_a_forbidden_address(self) -> None:
        """A name that leads to the metadata service is refused, and never dialled."""
        reactor, connecting = self.connect(["169.254.169.254", "fe80::1"])
        error = self.failureResultOf(connecting, TargetForbidden).value
        self.assertIn("vm.example is at 169.254.169.254, fe80::1", str(error))
        self.assertEqual(reactor.tcpClients, [])

    def test_the_checked_address_is_dialled(self) -> None:
        """A name server that changes its answer gains nothing: the name is resolved once."""
        reactor, _ = self.connect(["169.254.169.254", "192.0.2.7"], ["169.254.169.254"])
        self.assertEqual([client[:2] for client in reactor.tcpClients], [("192.0.2.7", 5900)])
