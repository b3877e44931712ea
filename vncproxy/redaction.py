"""Keeping secrets out of logs and errors: by their shapes, wherever they stand. Pure.

A console token is a UUID, and so is a server's id. Only whoever writes a text knows which of them
can be in it: ``without_secrets`` leaves UUIDs alone, ``without_tokens`` shortens them to the eight
digits by which a server is still recognised, and a token is worth nothing.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

HIDDEN = "***"  # stands for what is left out
# What ends a secret whose form is not known: the text may be a line of JSON, and must stay one.
_REST = r"[^&\s'\"\\<>]+"
# Our API's tokens, Keystone's, what is called a token, and what stands where the API has tokens
# (but not a token's id, which is what we write there).
_SECRETS = (
    (re.compile(r"vnc_[A-Za-z0-9_-]{40,}"), f"vnc_{HIDDEN}"),
    (re.compile(r"gAAAA[A-Za-z0-9_=%-]{40,}"), f"gAAAA{HIDDEN}"),
    (re.compile(rf"(token(?:=|%(?:25)*3D)){_REST}", re.IGNORECASE), rf"\1{HIDDEN}"),
    (
        re.compile(
            rf"(x-(?:auth|subject)-token\\?['\"]?\s*[:=]\s*\\?['\"]?){_REST}", re.IGNORECASE
        ),
        rf"\1{HIDDEN}",
    ),
    # The password of whoever a URL names, and what is called one in a URL's query.
    (re.compile(r"(://[^/\s:@'\"]{0,255}:)[^/\s@'\"]+(?=@)"), rf"\1{HIDDEN}"),
    (re.compile(rf"((?:^|[?&\s])(?:password|passwd)=){_REST}", re.IGNORECASE), rf"\1{HIDDEN}"),
    (
        re.compile(
            rf"(os-console-auth-tokens(?:/|%(?:25)*2F)+)(?![0-9a-f]{{12}}(?![\w%-])){_REST}",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)
_UUIDS = (
    re.compile(r"(?<!req-)([0-9a-f]{8})-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE),
    # Without its dashes, and not a part of a longer number, such as a hash.
    re.compile(r"(?<![0-9a-f])([0-9a-f]{8})[0-9a-f]{24}(?![0-9a-f])", re.IGNORECASE),
)
_MOST_DECODED = 8
_LONGEST_SHOWN = 2048  # to look through 64 KB for secrets takes 50 ms, and nobody honest sends it


def without_secrets(text: str) -> str:
    """Return the text without what is a secret for certain."""
    for shape, shown in _SECRETS:
        text = shape.sub(shown, text)
    return text


def without_tokens(text: str) -> str:
    """Return the text without what may be a secret: of each UUID the first eight digits stay."""
    text = without_secrets(text)
    for shape in _UUIDS:
        text = shape.sub(rf"\1-{HIDDEN}", text)
    return text


def shown_segment(segment: str, safe: str = "") -> str:
    """Return a part of a path for the log, quoted; what may be a secret is left out.

    Args:
        segment: decoded, once or not at all: it may have been encoded more than once.
        safe: characters that need no quoting.
    """
    if len(segment) > _LONGEST_SHOWN:
        return HIDDEN
    decoded = segment
    for _ in range(_MOST_DECODED):
        again = unquote(decoded)
        if again == decoded:
            break
        decoded = again
    else:
        return HIDDEN  # nobody honest encodes so often
    shown = without_tokens(decoded)
    return quote(segment if shown == decoded else shown, safe=f"*{safe}")


def shown_path(path: bytes) -> str:
    """Return the path of a request, as it came, for the log."""
    return shown_segment(path.decode("utf-8", "replace"), "/%;")
