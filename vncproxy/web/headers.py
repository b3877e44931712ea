"""The headers of requests that the gateway reads: what each may consist of, judged once.

Headers are bytes. The server refuses a request whose headers can't be meant as they are, before
anything else looks at it, so that whoever reads one with ``text_of`` meets text. What nobody here
reads may hold anything: other programs of the same site give browsers cookies of any bytes.
"""

from __future__ import annotations

from twisted.web.http_headers import Headers
from twisted.web.iweb import IRequest

# Those that a request has once, or not at all.
_SINGLE = frozenset(
    {
        b"authorization",
        b"content-type",
        b"host",
        b"x-auth-token",
    }
)
# Those that are lists, and the origins, of which ``web.request`` refuses two in its own words.
_OTHERS = frozenset(
    {
        b"accept",
        b"connection",
        b"forwarded",
        b"if-none-match",
        b"openstack-api-version",
        b"origin",
        b"sec-websocket-protocol",
        b"upgrade",
        b"x-console-origin",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-openstack-nova-api-version",
    }
)
_READ = _SINGLE | _OTHERS
_UTF_8 = frozenset({b"authorization", b"x-auth-token"})  # tokens are whatever a caller was given


def fault_in(headers: Headers) -> str | None:
    """Return why headers can't be meant as they are; None where nothing is wrong with them."""
    for name, values in headers.getAllRawHeaders():
        lower = name.lower()
        if lower not in _READ:
            continue
        if lower in _SINGLE and len(values) > 1:
            return f"there are {len(values)} {name.decode()} headers"
        encoding = "utf-8" if lower in _UTF_8 else "ascii"
        for value in values:
            try:
                value.decode(encoding)
            except UnicodeDecodeError:
                return f"the {name.decode()} header is not {encoding.upper()}"
    return None


def text_of(request: IRequest, name: str) -> str | None:
    """Return a header's value; of one that may be there several times, the last.

    Args:
        request: whose headers the server has judged.
        name: of a header that it judges, in lower case.
    """
    key = name.encode()
    if key not in _READ:
        raise LookupError(f"nobody judges the header {name}")
    values = request.requestHeaders.getRawHeaders(key, [])
    return values[-1].decode() if values else None
