"""Where consoles may be: addresses, ports, directories of UNIX sockets. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

from vncproxy.config.read import ConfigError
from vncproxy.errors import TargetForbidden

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# No machine's console is here; what is here gives secrets to whoever asks, or to many at once.
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/128", "fe80::/10", "ff00::/8"),
        # An IPv4 address stands in these, but where depends on the translator (RFC 8215), or it is
        # that of a tunnel's end (Teredo).
        *("64:ff9b:1::/48", "2001::/32"),
        # Metadata of Alibaba Cloud, Azure, Oracle, AWS (and its pods' credentials), Google, Oracle
        # again, and Scaleway.
        *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
        *("fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128"),
    )
)
# In these stands the IPv4 address that is reached, with so many bits behind it.
_CARRIERS = tuple(
    (ipaddress.IPv6Network(network), bits)
    for network, bits in (
        ("::ffff:0:0/96", 0),  # IPv4-mapped: the same socket
        ("::ffff:0:0:0/96", 0),  # IPv4-translated
        ("64:ff9b::/96", 0),  # NAT64
        ("2002::/16", 80),  # 6to4
        ("::/96", 0),  # IPv4-compatible, but for these two:
    )
)
_NO_CARRIED = frozenset({ipaddress.IPv6Address("::"), ipaddress.IPv6Address("::1")})
_ISATAP = 0x00005EFE  # in any network, before an IPv4 address at the end; two bits are flags
_ISATAP_FLAGS = 0x03000000


class TargetRules:
    """Decides on targets.

    Args:
        networks: ``[vncproxy] target_networks``; None for anywhere but where no console is, and
            for UNIX sockets that the gateway's own tokens name.
        ports: ``[vncproxy] target_ports``; None for any.

    Raises:
        ConfigError: one of them says nothing that is known.
    """

    def __init__(
        self, networks: Sequence[str] | None = None, ports: Sequence[str] | None = None
    ) -> None:
        self._everywhere = networks is None
        words = _some(networks, "target_networks")
        self._directories = [Path(word).resolve() for word in words if word.startswith("/")]
        self._networks = [_network(word) for word in words if not word.startswith("/")]
        self._ports = [_ports(word) for word in _some(ports, "target_ports")]

    def check_port(self, port: int) -> None:
        """Raise ``TargetForbidden`` if no console may have this port."""
        if self._ports and not any(port in ports for ports in self._ports):
            raise TargetForbidden(f"port {port} is not in [vncproxy] target_ports")

    def check_socket(self, path: str, ours: bool) -> None:
        """Raise ``TargetForbidden`` if no console may have this UNIX socket.

        Args:
            path: where it is, with all links followed.
            ours: whether the token is the gateway's own (see ``Grant.ours``).
        """
        if self._everywhere and ours:
            return
        if not any(directory in Path(path).parents for directory in self._directories):
            raise TargetForbidden(
                f"the UNIX socket {path} is in no directory where consoles may be; name its "
                "directory in [vncproxy] target_networks, beside all networks of consoles"
            )

    def allow(self, address: str) -> bool:
        """Whether a console may have this IP address."""
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        carrier, carried = _carried_by(parsed)
        if self._everywhere:
            all_of_it = (parsed, carried, _isatap_end(parsed))
            return not any(it in network for it in all_of_it if it for network in _NEVER)
        if carrier is None or carried is None:
            return any(parsed in network for network in self._networks)
        # A wide network was not meant to hold all of IPv4; one within the carrier was.
        return any(
            carried in network or (_is_within(network, carrier) and parsed in network)
            for network in self._networks
        )


def _carried_by(
    address: _Address,
) -> tuple[ipaddress.IPv6Network | None, ipaddress.IPv4Address | None]:
    """Return the IPv4 address that is reached by an IPv6 address, and the network of such ones."""
    if isinstance(address, ipaddress.IPv6Address) and address not in _NO_CARRIED:
        for carrier, bits in _CARRIERS:
            if address in carrier:
                return carrier, _ipv4_in(address, bits)
    return None, None


def _isatap_end(address: _Address) -> ipaddress.IPv4Address | None:
    is_isatap = (int(address) >> 32) & 0xFFFFFFFF & ~_ISATAP_FLAGS == _ISATAP
    return _ipv4_in(address, 0) if is_isatap else None


def _ipv4_in(address: _Address, bits: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address((int(address) >> bits) & 0xFFFFFFFF)


def _is_within(network: _Network, carrier: ipaddress.IPv6Network) -> bool:
    return isinstance(network, ipaddress.IPv6Network) and network.subnet_of(carrier)


def _some(words: Sequence[str] | None, option: str) -> Sequence[str]:
    """Return the words of an option; an empty one is neither "anything" nor "nothing" for sure."""
    if words is not None and not words:
        raise ConfigError(
            f"[vncproxy] {option}: it is empty; say where consoles may be, or leave it out"
        )
    return words or ()


def _network(word: str) -> _Network:
    try:
        return ipaddress.ip_network(word)
    except ValueError as error:
        raise ConfigError(
            f"[vncproxy] target_networks: {error}; write 10.1.0.0/16, or /a/directory/of/sockets"
        ) from error


def _ports(word: str) -> range:
    first, _, last = word.partition("-")
    try:
        found = range(int(first), int(last or first) + 1)
    except ValueError:
        found = range(0)
    if not found or found[0] < 1 or found[-1] > 65535:
        raise ConfigError(
            f"[vncproxy] target_ports: {word!r} is no port and no range; write 5900-6923, 10000"
        )
    return found
