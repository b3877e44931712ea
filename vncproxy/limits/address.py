"""Whom an address stands for. Pure."""

from __future__ import annotations

import ipaddress

_IPV6_SITE_BITS = 64  # a client chooses freely among the addresses of its /64


def client_of(address: str) -> str:
    """Return whom limits count for this address: an IPv4 address, or the /64 of an IPv6 one.

    What is no address, such as a local socket's name, stands for itself.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_SITE_BITS), strict=False))
