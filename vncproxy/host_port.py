"""Where a console is, as people write it. Pure: text in, values out."""

from __future__ import annotations

import ipaddress
import re

_FORM = re.compile(
    r"(?:\[(?P<address>[^\[\]]+)\]|(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_LARGEST_PORT = 65535


def host_and_port(text: str) -> tuple[str, int | None]:
    """Return a host, as it is dialled, and the port behind it or None.

    Taken are names, IPv4 and IPv6 addresses, the latter in brackets or without; behind a colon the
    port, where an IPv6 address must have its brackets.

    Raises:
        ValueError: it is something else; the text says what it must be.
    """
    if _is_ipv6(text):
        return text, None
    found = _FORM.fullmatch(text)
    if found is None or (found["address"] is not None and not _is_ipv6(found["address"])):
        raise ValueError("a host's name or address")
    host = found["address"] or found["name"]
    if found["port"] is None:
        return host, None
    port = int(found["port"])
    if not 0 < port <= _LARGEST_PORT:
        raise ValueError(f"a TCP port, 1 to {_LARGEST_PORT}")
    return host, port


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
