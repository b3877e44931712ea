"""The client's address in the headers that HTTP balancers add: X-Forwarded-For, and Forwarded.

Pure. Anybody can send these headers, so they are read from the right: the last entry is the
nearest balancer's word, and the entry before it counts only if that names a balancer too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vncproxy.edge.networks import TrustedProxies, plain_address

_MOST_HOPS = 20
_MOST_READ = 4096  # characters of Forwarded, from its end: anybody may send more
_WITH_PORT = re.compile(
    r"(?:(?P<ipv4>[0-9.]+)|\[(?P<ipv6>[^\[\]:]*:[^\[\]]*)\])(?::(?:[0-9]{1,5}|_[\w.-]+))?", re.ASCII
)
_SCHEMES = frozenset({"http", "https", "ws", "wss"})
_PAIR = re.compile(
    r'\s*(?P<name>[!#$%&\'*+.^_`|~\w-]+)=(?P<value>"(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*(?P<end>[;,]|$)',
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Hop:
    """What one balancer says of whom it serves.

    Attributes:
        client: its peer's address; None where it names none that is one.
        proto: the scheme that its peer used, or "".
    """

    client: str | None
    proto: str = ""


def x_forwarded_for(values: Iterable[str]) -> list[Hop]:
    """Return the hops of the X-Forwarded-For headers, the furthest first."""
    entries = ",".join(values).split(",")[-_MOST_HOPS:]
    return [Hop(_node(entry.strip())) for entry in entries if entry.strip()]


def forwarded(values: Iterable[str]) -> list[Hop]:
    """Return the hops of the Forwarded headers (RFC 7239 §4), the furthest first.

    An element that is not well-formed is a hop without an address: nothing before it counts.
    """
    text = ", ".join(values)
    hops: list[tuple[str, str]] = []
    if len(text) > _MOST_READ:
        text = text[-_MOST_READ:].partition(",")[2]
        hops = [("", "")]  # nothing before counts
    pairs: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None:
            # Begin again behind the next comma; one within quotes only makes a further bad hop.
            hops.append(("", ""))
            pairs = {}
            at = text.find(",", at) + 1 or len(text)
            continue
        pairs[match["name"].lower()] = _unquoted(match["value"])
        at = match.end()
        if match["end"] != ";":
            hops.append((pairs.get("for", ""), pairs.get("proto", "").lower()))
            pairs = {}
    return [Hop(_node(client), proto) for client, proto in hops[-_MOST_HOPS:]]


def scheme_of(values: Sequence[bytes]) -> str | None:
    """Return the scheme that X-Forwarded-Proto names; None where it is absent, or says nothing.

    It is one word. Of a list nobody knows which balancer met the browser, nor who wrote what.

    Raises:
        ValueError: it is none of the schemes by which browsers come.
    """
    said = [value.strip() for value in values if value.strip()]
    if not said:
        return None
    scheme = said[0].decode("ascii", "replace").lower()
    if len(said) > 1 or scheme not in _SCHEMES:
        raise ValueError("must be one of http, https, ws and wss; let balancers set it, not add it")
    return scheme


def client_of(peer: str | None, hops: Sequence[Hop], trusted: TrustedProxies) -> Hop:
    """Return the client, as far as trusted balancers vouch for it.

    Args:
        peer: address of who is connected to us; None for a UNIX socket.
        hops: as one of the headers says, the furthest first.
        trusted: whose word counts.
    """
    nearest = Hop(peer)
    for hop in reversed(hops):
        if nearest.client not in trusted or hop.client is None:
            break
        nearest = hop
    return nearest


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    return re.sub(r"\\(.)", r"\1", value[1:-1])


def _node(text: str) -> str | None:
    """Return the address of ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1``, ``[2001:db8::1]:80``.

    RFC 7239's ``unknown`` and ``_names`` are none.
    """
    found = _WITH_PORT.fullmatch(text)
    return plain_address(found["ipv4"] or found["ipv6"] if found else text)
