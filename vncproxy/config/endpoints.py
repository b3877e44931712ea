"""Composing the strings of listeners (see ``listener``) out of plain values."""

from __future__ import annotations

from twisted.internet.endpoints import quoteStringArgument


def listen_string(host: str, port: int, https: bool, proxy_header: bool) -> str:
    """Return the string that listens on this address.

    Args:
        host: IPv4 or IPv6 address; ``::`` takes clients of both.
        port: TCP port.
        https: whether TLS is spoken there.
        proxy_header: whether connections begin with the PROXY protocol's header.
    """
    words = "haproxy:" * proxy_header + "https:" * https
    family = "tcp6" if ":" in host else "tcp"
    return f"{words}{family}:{port}:interface={quoteStringArgument(host)}"
