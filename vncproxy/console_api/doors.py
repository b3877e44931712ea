"""Who a request is from: what it presents, asked of each configured method in turn."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Sequence

from OpenSSL import crypto
from twisted.web.server import Request

from vncproxy.console_api.callers import Authenticator, Caller, Presented
from vncproxy.console_api.faults import Fault
from vncproxy.web.request import host_of

_EVERYBODY = Caller("everybody", admin=True)


class OpenDoor:
    """Lets everybody in, for a listener that only this machine reaches.

    Requests for another name than this machine's come from a page that has given its own name
    this address (DNS rebinding), to be let in by the browser; so they are not.
    """

    async def caller_of(self, presented: Presented) -> Caller | None:
        """Return the caller that everybody is."""
        # Without a Host header it is a program of HTTP/1.0, which no page can be.
        if presented.host is None or _is_loopback(presented.host):
            return _EVERYBODY
        raise Fault(403, "Without authentication only requests for localhost are answered.")


class UnknownToken(Fault):
    """A token was presented that is nobody's."""


class Doors:
    """All configured methods of authentication.

    Args:
        methods: asked in this order; the first that knows the caller counts.
        challenge: value of WWW-Authenticate for those whom none knows.
    """

    def __init__(self, methods: Sequence[Authenticator], challenge: str) -> None:
        self._methods = tuple(methods)
        self._challenge = challenge

    async def caller_of(self, request: Request) -> Caller:
        """Return whose the request is.

        Raises:
            UnknownToken: a token was presented that is nobody's.
            Fault: 401 where none was presented, 503 where it can't be found out.
        """
        presented = presented_by(request)
        for method in self._methods:
            caller = await method.caller_of(presented)
            if caller is not None:
                return caller
        challenge = {"WWW-Authenticate": self._challenge}
        if presented.token is not None:
            raise UnknownToken(401, "This token is not known here.", challenge)
        how = "send X-Auth-Token or Authorization: Bearer"
        raise Fault(401, f"Say who you are: {how}.", challenge)


def presented_by(request: Request) -> Presented:
    """Return what the request brings to say whose it is.

    Raises:
        Malformed: it does not name one host.
    """
    user, token = None, _text(request.getHeader("x-auth-token"))
    scheme, _, value = (request.getHeader("authorization") or "").strip().partition(" ")
    if token is None and scheme.lower() == "bearer":
        token = _text(value)
    elif token is None and scheme.lower() == "basic":
        user, token = _basic(value)
    host = host_of(request)
    return Presented(token, user, _subject(request), host.name if host else None)


def _text(header: str | None) -> str | None:
    return (header or "").strip() or None


def _basic(value: str) -> tuple[str | None, str | None]:
    try:
        user, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None, None
    return (user, password) if colon and password else (None, None)


def _subject(request: Request) -> str | None:
    """Return the subject of the client's certificate, which the listener's TLS has verified."""
    peer_certificate = getattr(request.transport, "getPeerCertificate", None)
    certificate: crypto.X509 | None = peer_certificate() if peer_certificate else None
    return certificate.to_cryptography().subject.rfc4514_string() if certificate else None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
