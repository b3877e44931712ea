"""Composing Twisted endpoint strings out of plain values."""

from __future__ import annotations

from twisted.internet.endpoints import quoteStringArgument


def tcp_endpoint(host: str, port: int) -> str:
    """Return the endpoint string that listens on this address in the clear."""
    family = "tcp6" if ":" in host else "tcp"
    return f"{family}:{port}:interface={quoteStringArgument(host)}"


def ssl_endpoint(host: str, port: int, cert: str, key: str | None) -> str:
    """Return the endpoint string that speaks TLS on this IPv4 address or host name."""
    files = [
        f"{name}={quoteStringArgument(path)}"
        for name, path in (
            ("privateKey", key or cert),
            ("certKey", cert),
        )
    ]
    return ":".join([f"ssl:{port}:interface={quoteStringArgument(host)}", *files])
