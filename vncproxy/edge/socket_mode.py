"""The modes of UNIX sockets that the gateway listens on: who on this machine may connect. Pure.

Without a word about it Twisted lets everybody. It sets the mode before it listens, so that there is
no moment in which a socket can be connected to by more people than that.
"""

from __future__ import annotations

import re

PRIVATE = 0o660
_FIELD = re.compile(r"(?:^|:)((?:\\.|[^\\:])*)")  # between colons that are not escaped
_KEYWORD = re.compile(r"(?:\\.|[^\\=])*=")


def with_mode(endpoint: str) -> str:
    """Return an endpoint string that gives its UNIX socket a mode: ours, if it has none."""
    if endpoint.startswith("unix:") and _mode_in(endpoint) is None:
        return f"{endpoint}:mode={PRIVATE:o}"
    return endpoint


def wider_mode(endpoint: str) -> str | None:
    """Return the mode of a UNIX socket to which everybody may connect; None for any other."""
    mode = _mode_in(endpoint) if endpoint.startswith("unix:") else None
    try:
        return mode if mode is not None and is_wide(int(mode, 8)) else None
    except ValueError:
        return None  # the parser of endpoints has words for this


def is_wide(mode: int) -> bool:
    """Return whether people who are neither the owner nor of the group may connect."""
    return bool(mode & 0o002)


def _mode_in(endpoint: str) -> str | None:
    """Return the mode that stands in a UNIX endpoint's string: by its name, or behind the path."""
    _, *fields = _FIELD.findall(endpoint)
    named = [field.removeprefix("mode=") for field in fields if field.startswith("mode=")]
    placed = [field for field in fields if not _KEYWORD.match(field)]
    return next(iter(named + placed[1:]), None)
