"""What is believed of the headers that balancers add to requests.

It is decided once, before anything else looks at the request: behind it ``getClientAddress`` is
the client's address, and X-Forwarded-Proto is there only if it is to be believed.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.server import Request

from vncproxy.edge.first_byte import names_no_client
from vncproxy.edge.forwarded import client_of, forwarded, scheme_of, x_forwarded_for
from vncproxy.edge.networks import TrustedProxies, plain_address
from vncproxy.edge.pending import accepted_transport
from vncproxy.edge.tls import client_name

_PROTO = b"x-forwarded-proto"


class Forwarding:
    """Decides what of a request's forwarding headers is true.

    Args:
        trusted: the balancers. Without any, X-Forwarded-Proto stays as it is, as nova leaves it:
            whoever can forge it can forge Origin too, which is all that it bears on.
        header: the one in which they tell the client's address.
        hsts_max_age: of Strict-Transport-Security; 0 for none.
    """

    def __init__(
        self,
        trusted: TrustedProxies,
        header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for",
        hsts_max_age: int = 0,
    ) -> None:
        self.trusted = trusted
        self._header = header
        self._hsts = f"max-age={hsts_max_age}".encode() if hsts_max_age else b""

    def apply(self, request: Request) -> None:
        """Let the request say the truth, and the browser come by https next time."""
        host = getattr(request.getClientAddress(), "host", None)
        peer = plain_address(host) if host else None
        if self.trusted:
            self._believe(request, peer)
        elif peer != host:
            _set_client(request, peer)
        if self._hsts and self._is_secure(request):
            request.setHeader(b"strict-transport-security", self._hsts)

    def _believe(self, request: Request, peer: str | None) -> None:
        headers = request.requestHeaders
        if request.channel is not None:
            accepted = accepted_transport(request.channel.transport)
            if names_no_client(accepted):  # the balancer has not looked into the request
                _set_client(request, peer)
                headers.removeHeader(_PROTO)
                return
        read = forwarded if self._header == "forwarded" else x_forwarded_for
        client = client_of(peer, read(headers.getRawHeaders(self._header, [])), self.trusted)
        _set_client(request, client.client)
        if peer not in self.trusted:
            headers.removeHeader(_PROTO)
        elif self._header == "forwarded":
            headers.setRawHeaders(_PROTO, [client.proto.encode()] if client.proto else [])

    def _is_secure(self, request: Request) -> bool:
        if tls_of(request) is not None:
            return True
        if not self.trusted:
            return False
        try:
            return scheme_of(request.requestHeaders.getRawHeaders(_PROTO, [])) in ("https", "wss")
        except ValueError:  # such a request opens no console
            return False


def tls_of(request: Request) -> TLSMemoryBIOProtocol | None:
    """Return the TLS that the request came by; None for plain HTTP."""
    transport = request.channel.transport if request.channel is not None else None
    return transport if isinstance(transport, TLSMemoryBIOProtocol) else None


def client_certificate(request: Request) -> str | None:
    """Return whom the client's certificate names, for logs; None where there is none."""
    tls = tls_of(request)
    return client_name(tls.getHandle()) if tls is not None else None


def _set_client(request: Request, host: str | None) -> None:
    if host is None:
        return  # a UNIX socket's peer, who said nothing of another
    old = request.getClientAddress()
    port = getattr(old, "port", 0) if getattr(old, "host", None) == host else 0
    kind = IPv6Address if ":" in host else IPv4Address
    cast("Any", request).client = kind("TCP", host, port)
