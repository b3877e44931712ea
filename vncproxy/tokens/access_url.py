"""The URL that opens a console: composed as nova does (since 31.0.0).

Only where nova's would be broken, because a base URL of another console than noVNC's has a query
of its own, is the token added to that.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from vncproxy.model import Token


def titled(url: str, title: str) -> str:
    """Return the URL of a console's page that shall have this title.

    Stands in the fragment, which a browser keeps to itself.
    """
    return urlunsplit(urlsplit(url)._replace(fragment=urlencode({"title": title})))


def access_url(base: str, console_type: str, token: Token) -> str:
    """Return the URL a user opens; it holds the token, so it must never be logged.

    For noVNC the token travels inside the page's parameter ``path``, which the page turns into
    the WebSocket's address; other consoles' pages and clients take it as ``token``.
    """
    if console_type != "novnc":
        return f"{base}{'&' if '?' in base else '?'}token={token.text}"
    parts = urlsplit(base)
    old = parse_qsl(parts.query)
    path = next((value for name, value in old if name == "path"), "") + f"?token={token.text}"
    new: dict[str, list[str]] = {}
    for name, value in old:
        new.setdefault(name, []).append(value)
    new["path"] = [path]
    return urlunsplit(parts._replace(query=urlencode(new, doseq=True)))
