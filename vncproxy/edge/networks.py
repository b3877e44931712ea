"""Addresses as texts, and the balancers whose word about a client's address is believed."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_UNIX = "unix"


def plain_address(text: str) -> str | None:
    """Return an address in its one form, or None if the text is none.

    An IPv4 client of a socket for both families (``::ffff:192.0.2.1``) is an IPv4 client. A zone
    (``%eth0``) says nothing of the client, and is left out.
    """
    address = _parsed(text)
    return None if address is None else str(address)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


class TrustedProxies:
    """The peers that are balancers of ours.

    Args:
        items: addresses, networks, and the word ``unix`` for whoever connects to a UNIX socket.

    Raises:
        ValueError: an item is none of these; the text names it.
    """

    def __init__(self, items: Iterable[str] = ()) -> None:
        self.replace(items)

    def replace(self, items: Iterable[str]) -> None:
        """Trust these from now on, and no others; raises as the constructor does."""
        words = [item.strip() for item in items]
        self._networks = [ip_network(word) for word in words if word != _UNIX]
        self._unix = _UNIX in words

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._networks) or self._unix

    def __contains__(self, host: str | None) -> bool:
        """Whether this peer is one; None stands for the peer of a UNIX socket."""
        if host is None:
            return self._unix
        address = _parsed(host)
        return address is not None and any(address in network for network in self._networks)
