"""Patterns in options and files: ``*`` stands for any characters, all else for itself. Pure.

Not the shell's, in which ``vm[12]`` is two names, and neither of them ``vm[12]``.
"""

from __future__ import annotations

import glob


def matches(pattern: str, text: str) -> bool:
    """Return whether the whole text is what the pattern describes, in time linear in both.

    Upper and lower case differ; where they should not, the caller gives both in lower case.
    """
    first, *others = pattern.split("*")
    if not others:
        return text == first
    *between, last = others
    end = len(text) - len(last)
    if end < len(first) or not (text.startswith(first) and text.endswith(last)):
        return False
    position = len(first)
    for part in between:  # each at its first place: a later one would leave less for the others
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def paths(pattern: str) -> list[str]:
    """Return the files whose paths the pattern describes; ``*`` ends at a ``/``."""
    return glob.glob("*".join(glob.escape(part) for part in pattern.split("*")))
