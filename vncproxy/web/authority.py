"""The host and port that a Host header names, and that stand in an Origin (RFC 9110 §7.2).

Recognised, not parsed: the whole value has the one form ``host [":" port]``, or it is none. What a
lenient parser passes over (a user before the host, a backslash, a second value behind a comma) is
what makes two programs understand different hosts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

# What browsers leave of a name: letters of IDN are punycode, all else is an error there.
_FORM = re.compile(
    rb"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]{0,252}))"
    rb"(?::(?P<port>[1-9][0-9]{0,4}))?"
)
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?")
_LARGEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Authority:
    """A host, and perhaps a port.

    Attributes:
        host: as it was written; an IPv6 address without its brackets.
        port: None where there is none.
    """

    host: str
    port: int | None = None

    @property
    def name(self) -> str:
        """The host for comparisons, in which letters have no case."""
        return self.host.lower()

    @classmethod
    def recognise(cls, value: bytes) -> Authority | None:
        """Return the authority that the value is, from its first to its last byte, or None."""
        found = _FORM.fullmatch(value)
        if found is None:
            return None
        port = int(found["port"]) if found["port"] else None
        if port is not None and port > _LARGEST_PORT:
            return None
        host = (found["ipv6"] or found["name"]).decode("ascii")
        try:
            if found["ipv6"]:
                IPv6Address(host)
            elif _NUMERIC.fullmatch(host):  # no name ends in a number, so this is an address
                IPv4Address(host)
        except ValueError:
            return None
        return cls(host, port)

    def serialise(self) -> str:
        """Return the authority as it stands in a header or a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"
