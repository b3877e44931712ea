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
from vncproxy.console_api.look_ups import TokenLookUps, first_known
from vncproxy.edge.client_identity import identities_of
from vncproxy.web.headers import text_of
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


class Doors:
    """All configured methods of authentication.

    Those that know callers by themselves are asked first. Whoever is good there is let in, whatever
    others at the same address have shown; only the other tokens cost a look-up, and are counted.

    Args:
        here: methods that answer at once, in this order.
        look_ups: of the tokens that none of these knows.
        challenge: value of WWW-Authenticate for those whom none knows.
    """

    def __init__(
        self, here: Sequence[Authenticator], look_ups: TokenLookUps, challenge: str
    ) -> None:
        self._here = tuple(here)
        self._look_ups = look_ups
        self._challenge = challenge

    async def caller_of(self, request: Request, client: str) -> Caller:
        """Return whose the request is.

        Args:
            request: of the API.
            client: whom bad tokens are counted for (see ``limits.address``).

        Raises:
            Fault: 401 where it is nobody's, 429 where the client has shown too many bad tokens,
                503 where it can't be found out.
        """
        presented = presented_by(request)
        unsure: Fault | None = None
        caller: Caller | None = None
        try:
            caller = await first_known(self._here, presented)
        except Fault as fault:
            if fault.status != 503 or not self._look_ups.ask_anybody:
                raise
            unsure = fault
        if caller is None and presented.token is not None:
            caller = await self._look_ups.caller_of(presented, presented.token, client)
        if caller is not None:
            return caller
        if unsure is not None:
            raise unsure
        challenge = {"WWW-Authenticate": self._challenge}
        if presented.token is not None:
            raise Fault(401, "This token is not known here.", challenge)
        how = "send X-Auth-Token or Authorization: Bearer"
        raise Fault(401, f"Say who you are: {how}.", challenge)


def presented_by(request: Request) -> Presented:
    """Return what the request brings to say whose it is.

    Raises:
        Malformed: it does not name one host.
    """
    user, token = None, _text(text_of(request, "x-auth-token"))
    scheme, _, value = (text_of(request, "authorization") or "").strip().partition(" ")
    if token is None and scheme.lower() == "bearer":
        token = _text(value)
    elif token is None and scheme.lower() == "basic":
        user, token = _basic(value)
    host = host_of(request)
    return Presented(token, user, _identities(request), host.name if host else None)


def _text(header: str | None) -> str | None:
    return (header or "").strip() or None


def _basic(value: str) -> tuple[str | None, str | None]:
    try:
        user, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None, None
    return (user, password) if colon and password else (None, None)


def _identities(request: Request) -> tuple[str, ...] | None:
    """Return whom the client's certificate names, which the listener's TLS has verified."""
    peer_certificate = getattr(request.transport, "getPeerCertificate", None)
    certificate: crypto.X509 | None = peer_certificate() if peer_certificate else None
    return None if certificate is None else identities_of(certificate)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
