"""Refusals in HTTP: a status and a short JSON text, and the headers that every answer carries."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from twisted.web.server import Request

from vncproxy.errors import ANSWERS, GatewayError, Later
from vncproxy.model import Ending


def set_common_headers(request: Request, frame_ancestors: Sequence[str]) -> None:
    """Set what every answer carries: nothing of it may be sniffed, framed, or leak the token."""
    request.setHeader(b"server", b"vncproxy")
    request.setHeader(b"x-content-type-options", b"nosniff")
    request.setHeader(b"referrer-policy", b"no-referrer")  # the page's URL holds a token
    request.setHeader(b"content-security-policy", _policy("default-src 'none'", frame_ancestors))


def allow_page_content(
    request: Request,
    frame_ancestors: Sequence[str],
    inline_hashes: Sequence[str] = (),
    inline_styles: bool = False,
) -> None:
    """Set the Content-Security-Policy of a page that shows a console.

    Args:
        request: whose answer is the page.
        frame_ancestors: who may frame it.
        inline_hashes: CSP sources of the inline scripts and styles that the page contains.
        inline_styles: whether its scripts may make style sheets of their own.
    """
    own = " ".join(["'self'", *inline_hashes])
    rules = [
        "default-src 'none'",
        f"script-src {own}",
        "style-src 'self' 'unsafe-inline'" if inline_styles else f"style-src {own}",
        "img-src 'self' data: blob:",
        "media-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    policy = _policy("; ".join(rules), frame_ancestors)
    request.setHeader(b"content-security-policy", policy)


def _policy(rules: str, frame_ancestors: Sequence[str]) -> bytes:
    ancestors = " ".join(frame_ancestors) or "'none'"
    return f"{rules}; frame-ancestors {ancestors}".encode()


def json_answer(request: Request, status: int, body: Mapping[str, object]) -> bytes:
    """Return the whole body of a JSON answer that is never cached."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"cache-control", b"no-store")
    data = json.dumps(body).encode() + b"\n"
    request.setHeader(b"content-length", b"%d" % len(data))
    return data


def text_answer(request: Request, status: int, words: str) -> bytes:
    """Return the body of a short answer in words."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    return f"{words}\n".encode()


def refusal(request: Request, error: GatewayError, request_id: str) -> bytes:
    """Return the JSON body that refuses a request."""
    status = ANSWERS[error.ending].status
    if status == 400:
        request.setHeader(b"sec-websocket-version", b"13")  # RFC 6455 §4.2.2
    if isinstance(error, Later):
        request.setHeader(b"retry-after", str(math.ceil(error.retry_after_s)).encode())
    message = str(error) if error.ending is Ending.MALFORMED else error.words
    body = {"code": error.ending.value, "message": message, "request_id": request_id}
    return json_answer(request, status, body)
