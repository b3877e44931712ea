"""The cookie by which a gateway knows the browser that used a token of single use first."""

from __future__ import annotations

import secrets

from twisted.web.server import Request

from vncproxy.model import Grant
from vncproxy.web.request import cookie


def new_secret() -> str:
    """Return what no other browser can guess."""
    return secrets.token_urlsafe(24)


def secret_of(request: Request, grant: Grant) -> str | None:
    """Return the secret that the browser was given for this token, if it shows one."""
    for name in (_name(grant, secure=True), _name(grant, secure=False)):
        value = cookie(request, name.encode())
        if value:
            return value.decode("utf-8", "replace")
    return None


def cookie_for(grant: Grant, secret: str, secure: bool, framed: bool, lives_s: int) -> bytes:
    """Return the Set-Cookie header that gives a browser the secret.

    Args:
        grant: of the token; each has a cookie of its own, so that consoles in several tabs do not
            lose each other's.
        secret: to give.
        secure: whether the browser came by TLS.
        framed: whether other sites' pages may frame the console; then only a cookie that says
            SameSite=None reaches us from there, which browsers take by TLS only.
        lives_s: seconds that the token still lives.
    """
    parts = [f"{_name(grant, secure)}={secret}", "Path=/", f"Max-Age={lives_s}", "HttpOnly"]
    if secure:
        parts.append("Secure")
    parts += ["SameSite=None", "Partitioned"] if secure and framed else ["SameSite=Strict"]
    return "; ".join(parts).encode()


def _name(grant: Grant, secure: bool) -> str:
    # The prefix keeps other hosts of the site from planting one (RFC 6265bis §4.1.3.2).
    return f"{'__Host-' * secure}vncproxy-{grant.token_id}"
