"""Handing the connection of an upgrade request from twisted.web over to Autobahn.

Autobahn's own ``WebSocketResource`` does the same; this one also passes on the bytes that came
right behind the request, and shows Autobahn no URL, because the URL holds the token.
"""

from __future__ import annotations

from typing import Any, cast

from autobahn.twisted.websocket import WebSocketServerProtocol
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.server import Request

from vncproxy.interfaces import IStreamTransport
from vncproxy.splice.last_words import hear_out
from vncproxy.web.server import HardenedChannel

_HANDSHAKE_HEADERS = (
    b"host",
    b"upgrade",
    b"connection",
    b"sec-websocket-key",
    b"sec-websocket-version",
    b"sec-websocket-protocol",
)


def hand_over(request: Request, protocol: WebSocketServerProtocol) -> None:
    """Make the protocol the owner of the request's connection, and let it do the handshake."""
    channel = cast("HardenedChannel", request.channel)
    transport = cast("IStreamTransport", channel.transport)
    channel.transport = None
    early = b"".join(channel._dataBuffer) + channel.clearLineBuffer()
    channel._dataBuffer = []
    channel.let_go()
    # Both name each other: with its headers, of up to 64 KB, the request would stay until Python
    # looks for such circles, which is seldom.
    channel.requests.clear()
    # The channel stays the transport's producer otherwise, and ours can't be registered.
    transport.unregisterProducer()
    hear_out(transport)
    if isinstance(transport, ProtocolWrapper):  # TLS, or the PROXY protocol
        transport.wrappedProtocol = protocol
    else:
        cast("Any", transport).protocol = protocol
    protocol.makeConnection(transport)
    transport.resumeProducing()
    protocol.dataReceived(_handshake(request))
    if early:
        protocol.dataReceived(early)


def _handshake(request: Request) -> bytes:
    lines = [b"GET / HTTP/1.1"]
    for name in _HANDSHAKE_HEADERS:
        values = request.requestHeaders.getRawHeaders(name, [])
        if values:
            lines.append(name + b": " + b", ".join(values))
    return b"\r\n".join([*lines, b"", b""])
