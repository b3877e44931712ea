"""Which noVNC a directory holds."""

from __future__ import annotations

import json
import re
from pathlib import Path

PROOF = "core/rfb.js"
# The oldest that is tried, and the newest: `make test` opens consoles with each between them.
OLDEST, NEWEST = "1.0", "1.7"
_MODULE = "export default"  # before 1.0 noVNC was no module
# What came with a version, the newest first. Distributions leave package.json out.
_CAME_WITH = (
    ("core/decoders/h264.js", "1.6 or newer"),
    ("core/crypto/crypto.js", "1.5"),
    ("core/ra2.js", "1.4"),
    ("core/deflator.js", "1.2 or 1.3"),
    ("core/decoders/raw.js", "1.1"),
)
_LONGEST = 1 << 20  # of what is read of a file


def version_in(root: Path) -> str:
    """Return the version in words, from its package's description, else from the files it has."""
    try:
        described = json.loads(_read(root / "package.json"))
        if described["name"] == "@novnc/novnc":
            return str(described["version"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # it has no description
    return next((version for name, version in _CAME_WITH if (root / name).is_file()), OLDEST)


def fault_in(root: Path) -> str | None:
    """Return why our page can't use what is there, or None."""
    if not (root / PROOF).is_file():
        if (root / "lib/rfb.js").is_file():
            return f"the noVNC in {root} has no core/: npm's 1.5 and 1.6 are not made for browsers"
        return f"no noVNC in {root}, which has no {PROOF}"
    try:
        if _MODULE not in _read(root / PROOF):
            return f"the noVNC in {root} is older than {OLDEST}"
    except OSError as error:
        return f"noVNC's {root / PROOF} can't be read: {error.strerror}"
    return None


def is_untried(version: str) -> bool:
    """Return whether the version is newer than all that were tried."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    newest = tuple(map(int, NEWEST.split(".")))
    return numbers is not None and tuple(map(int, numbers.groups())) > newest


def _read(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_LONGEST)
