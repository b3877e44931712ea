"""What a request says: its token, and whether it is a WebSocket handshake.

Everything here is decided from the request alone, before any database is asked.
"""

from __future__ import annotations

import base64
import binascii

from twisted.web.iweb import IRequest
from twisted.web.server import Request

from vncproxy.errors import Malformed, NoToken
from vncproxy.model import Token

_VERSIONS = (b"8", b"13")
_SUBPROTOCOL = b"binary"


def wants_websocket(request: Request) -> bool:
    """Whether the request asks to become a WebSocket, on whatever path."""
    return b"websocket" in _items(request, b"upgrade")


def token_of(request: Request) -> Token:
    """Return the token of the request's query, else of its cookie.

    As in nova's proxies the last non-empty ``token`` of the query wins, then the last one of the
    first Cookie header, whose malformed parts are passed over.

    Raises:
        NoToken: there is none.
    """
    in_query = [value for value in request.args.get(b"token", []) if value]
    text = in_query[-1] if in_query else cookie(request, b"token")
    if not text:
        raise NoToken("no token in the query, nor in a cookie")
    return Token(text.decode("utf-8", "replace"))


def check_handshake(request: Request) -> None:
    """Check the opening handshake's form (RFC 6455 §4.2.1).

    Raises:
        Malformed: it has a fault; the text names it.
    """
    if request.method != b"GET" or request.clientproto != b"HTTP/1.1":
        raise Malformed("a WebSocket handshake is a GET of HTTP/1.1")
    if len(request.requestHeaders.getRawHeaders(b"host", [])) != 1:
        raise Malformed("exactly one Host header is needed")
    if b"upgrade" not in _items(request, b"connection"):
        raise Malformed("the Connection header does not name Upgrade")
    if request.content is not None and request.content.read(1):
        raise Malformed("a WebSocket handshake has no body")
    if _only(request, b"sec-websocket-version") not in _VERSIONS:
        raise Malformed("Sec-WebSocket-Version must be 13")
    if not _is_key(_only(request, b"sec-websocket-key")):
        raise Malformed("Sec-WebSocket-Key must be 16 bytes in base64")
    if subprotocols(request) and _SUBPROTOCOL not in subprotocols(request):
        raise Malformed("the only subprotocol is binary; base64 ended with noVNC 0.6")


def came_by_tls(request: Request) -> bool:
    """Whether the browser speaks TLS: with us, or with a balancer that says so."""
    secure: bool = request.isSecure()
    return secure or request.getHeader("x-forwarded-proto") == "https"


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
