"""Where consoles may be: addresses, ports, directories of UNIX sockets. Pure."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from vncproxy.config.read import ConfigError
from vncproxy.errors import TargetForbidden

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# No machine's console is here; what is here gives secrets to whoever asks, or to many at once.
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/128", "fe80::/10", "ff00::/8"),
        *("100.100.100.200/32", "fd00:ec2::254/128"),  # metadata of Alibaba Cloud, and of AWS
    )
)


class TargetRules:
    """Decides on targets.

    Args:
        networks: ``[vncproxy] target_networks``; empty for anywhere but where no console is.
        ports: ``[vncproxy] target_ports``; empty for any.

    Raises:
        ConfigError: one of them says nothing that is known.
    """

    def __init__(self, networks: Sequence[str] = (), ports: Sequence[str] = ()) -> None:
        self._everywhere = not networks
        self._directories = [Path(word).resolve() for word in networks if word.startswith("/")]
        self._networks = [_network(word) for word in networks if not word.startswith("/")]
        self._ports = [_ports(word) for word in ports]

    def check_port(self, port: int) -> None:
        """Raise ``TargetForbidden`` if no console may have this port."""
        if self._ports and not any(port in ports for ports in self._ports):
            raise TargetForbidden(f"port {port} is not in [vncproxy] target_ports")

    def check_socket(self, path: str) -> None:
        """Raise ``TargetForbidden`` if no console may have this UNIX socket, links followed."""
        real = Path(os.path.realpath(path))
        if not self._everywhere and not any(d in real.parents for d in self._directories):
            raise TargetForbidden(
                f"{real} is in none of the directories of [vncproxy] target_networks"
            )

    def allow(self, address: str) -> bool:
        """Whether a console may have this IP address."""
        parsed = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        if self._everywhere:
            return not any(parsed in network for network in _NEVER)
        return any(parsed in network for network in self._networks)


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
