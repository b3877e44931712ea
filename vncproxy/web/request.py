"""What a request says: its token, and whether it is a WebSocket handshake.

Everything here is decided from the request alone, before any database is asked.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote_to_bytes

from twisted.web.http import parse_qs
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from vncproxy.edge.forwarded import scheme_of
from vncproxy.errors import Malformed, NoToken, OriginRefused
from vncproxy.model import Token
from vncproxy.web.authority import Authority
from vncproxy.web.origin import Origin

_VERSION = b"13"  # 8 is a draft, whose browsers told the origin in another header
_SUBPROTOCOL = b"binary"
_SHOWN_BYTES = 100
_MOST_OF_PAGES = 64  # parameters in noVNC's parameter path, which has one, the token
_ABSOLUTE = re.compile(rb"https?://(?P<authority>[^/?]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)


def wants_websocket(request: Request) -> bool:
    """Whether the request asks to become a WebSocket, on whatever path."""
    return b"websocket" in _items(request, b"upgrade")


def count_parameters(target: bytes) -> int:
    """Return how many parameters a request's target has at most, before they are parsed."""
    query = target.partition(b"?")[2]
    return query.count(b"&") + query.count(b";") + bool(query)


def token_of(request: Request) -> Token:
    """Return the token of the request's query, else of its cookie.

    A URL names one token. Nova's proxies take the last of several, other programs the first; where
    they differ nobody can say which console was meant, so that is malformed. With a token in the
    URL the cookie does not count, as in nova; else it is the last one of the first Cookie header,
    whose malformed parts are passed over.

    Raises:
        Malformed: the URL names several tokens.
        NoToken: there is none.
    """
    in_query = {value for value in request.args.get(b"token", []) if value}
    if len(in_query | set(_tokens_of_pages(request))) > 1 and in_query:
        raise Malformed("the URL names two different tokens")
    text = in_query.pop() if in_query else cookie(request, b"token")
    if not text:
        raise NoToken("no token in the query, nor in a cookie")
    return Token(text.decode("utf-8", "replace"))


def _tokens_of_pages(request: Request) -> Iterator[bytes]:
    """Yield the tokens within noVNC's parameter ``path``, for which the page would open them."""
    for path in request.args.get(b"path", []):
        query = path.partition(b"?")[2]
        if count_parameters(path) > _MOST_OF_PAGES:
            raise Malformed("the URL's path parameter has too many parameters itself")
        yield from (token for token in parse_qs(query).get(b"token", []) if token)


def host_of(request: Request) -> Authority | None:
    """Return what the Host header names; None for a request of HTTP/1.0 that has none.

    Raises:
        Malformed: there is not exactly one with one host (RFC 9112 §3.2).
    """
    values = request.requestHeaders.getRawHeaders(b"host", [])
    if not values and request.clientproto == b"HTTP/1.0":
        return None
    host = Authority.recognise(values[0]) if len(values) == 1 else None
    if host is None:
        raise Malformed("exactly one Host header with one host is needed")
    return host


def check_target(request: Request) -> None:
    """Check that the request names one host, and let its target begin with a slash.

    A target may name the host too (RFC 9112 §3.2.2), but not another than the Host header.

    Raises:
        Malformed: it names no host, or two, or is no path.
    """
    host = host_of(request)
    if request.uri.startswith(b"/"):
        return
    found = _ABSOLUTE.fullmatch(request.uri)
    if found is None or host is None or Authority.recognise(found["authority"]) != host:
        raise Malformed("the request's target is neither a path nor a URL of the Host")
    path, _, query = found["rest"].partition(b"?")
    request.path = path or b"/"
    request.uri = request.path + (b"?" + query if query else b"")
    request.postpath = [unquote_to_bytes(segment) for segment in request.path[1:].split(b"/")]


def origin_of(request: Request, headers: Sequence[bytes] = (b"origin",)) -> Origin | None:
    """Return the origin of the page that made the request; None for a program's.

    Args:
        request: the request.
        headers: which may name it; the first that is there counts.

    Raises:
        OriginRefused: the header is there, and is not one origin in its serialised form.
    """
    for name in headers:
        values = request.requestHeaders.getRawHeaders(name)
        if not values:
            continue
        origin = Origin.recognise(values[0]) if len(values) == 1 else None
        if origin is None:
            shown = b", ".join(values)[:_SHOWN_BYTES].decode("ascii", "backslashreplace")
            raise OriginRefused(f"the Origin {shown!r} is not one origin")
        return origin
    return None


def forwarded_proto(request: Request) -> str | None:
    """Return the scheme that a balancer says the browser uses; None where none says so.

    Raises:
        Malformed: X-Forwarded-Proto is something else.
    """
    try:
        return scheme_of(request.requestHeaders.getRawHeaders(b"x-forwarded-proto", []))
    except ValueError as error:
        raise Malformed(f"X-Forwarded-Proto {error}") from None


def check_handshake(request: Request) -> None:
    """Check the opening handshake's form (RFC 6455 §4.2.1).

    Raises:
        Malformed: it has a fault; the text names it.
    """
    if request.method != b"GET" or request.clientproto != b"HTTP/1.1":
        raise Malformed("a WebSocket handshake is a GET of HTTP/1.1")
    check_target(request)
    if b"upgrade" not in _items(request, b"connection"):
        raise Malformed("the Connection header does not name Upgrade")
    if request.content is not None and request.content.read(1):
        raise Malformed("a WebSocket handshake has no body")
    if _only(request, b"sec-websocket-version") != _VERSION:
        raise Malformed("Sec-WebSocket-Version must be 13")
    if not _is_key(_only(request, b"sec-websocket-key")):
        raise Malformed("Sec-WebSocket-Key must be 16 bytes in base64")
    if subprotocols(request) and _SUBPROTOCOL not in subprotocols(request):
        raise Malformed("the only subprotocol is binary; base64 ended with noVNC 0.6")
    if len(set(subprotocols(request))) < len(subprotocols(request)):
        raise Malformed("a subprotocol such as binary is offered once")  # RFC 6455 §4.1


def came_by_tls(request: Request) -> bool:
    """Whether the browser speaks TLS: with us, or with a balancer that says so."""
    secure: bool = request.isSecure()
    return secure or forwarded_proto(request) in ("https", "wss")


def subprotocols(request: Request) -> list[bytes]:
    """Return the subprotocols that the client offers."""
    headers = request.requestHeaders.getRawHeaders(b"sec-websocket-protocol", [])
    return [item.strip() for item in b",".join(headers).split(b",") if item.strip()]


def _items(request: IRequest, header: bytes) -> list[bytes]:
    lines = request.requestHeaders.getRawHeaders(header, [])
    return [item.strip().lower() for item in b",".join(lines).split(b",")]


def _only(request: Request, header: bytes) -> bytes:
    values = request.requestHeaders.getRawHeaders(header, [])
    return values[0].strip() if len(values) == 1 else b""


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False


def cookie(request: Request, name: bytes) -> bytes:
    """Return the value of the last cookie of this name in the first Cookie header, or b""."""
    headers = request.requestHeaders.getRawHeaders(b"cookie", [b""])
    found = b""
    for part in headers[0].split(b";"):
        key, separator, value = part.strip().partition(b"=")
        if separator and key == name:
            found = value.strip().strip(b'"')
    return found
