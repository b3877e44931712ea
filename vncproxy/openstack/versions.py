"""Which version of nova-compute's RPC to speak (``[upgrade_levels] compute``)."""

from __future__ import annotations

import re

Version = tuple[int, int]

# Release names, in lower case, and the last RPC version that computes of them know.
_BY_RELEASE: dict[str, Version] = {
    **dict.fromkeys(("queens", "rocky"), (5, 0)),
    "stein": (5, 1),
    "train": (5, 3),
    "ussuri": (5, 11),
    "victoria": (5, 12),
    **dict.fromkeys(("wallaby", "xena", "yoga"), (6, 0)),
    "zed": (6, 1),
    **dict.fromkeys(("antelope", "bobcat"), (6, 2)),
    **dict.fromkeys(("caracal", "dalmatian"), (6, 3)),
    **dict.fromkeys(("epoxy", "flamingo"), (6, 4)),
    "gazpacho": (6, 5),
}
# The first service version (``services.version``) that knows each RPC version.
_BY_SERVICE: list[tuple[int, Version]] = [
    (30, (5, 0)),
    (37, (5, 1)),
    (39, (5, 2)),
    (40, (5, 3)),
    *((version, (5, version - 37)) for version in range(41, 48)),
    (50, (5, 11)),
    (53, (5, 12)),
    (54, (5, 13)),
    (56, (6, 0)),
    (64, (6, 1)),
    (66, (6, 2)),
    (67, (6, 3)),
    (68, (6, 4)),
    (71, (6, 5)),
]
_NEWEST = _BY_SERVICE[-1][1]
_SECOND_TOPIC_SINCE: Version = (6, 5)
AUTO = "auto"


def cap_of(level: str) -> Version:
    """Return the version cap that a value of ``[upgrade_levels] compute`` means; not for "auto".

    Raises:
        ValueError: it is neither a known release's name nor a version.
    """
    name = level.strip().lower()
    number = re.fullmatch(r"(\d{1,3})\.(\d{1,3})", name)
    cap = (int(number[1]), int(number[2])) if number else _BY_RELEASE.get(name)
    if cap is None or cap[0] not in (5, 6):
        raise ValueError(
            f"{level!r} is no release that this gateway knows, nor 5.N or 6.N, nor auto"
        )
    return cap


def cap_of_service(version: int) -> Version:
    """Return the cap for computes of which the oldest has this service version; 0: no computes."""
    known = [rpc for first, rpc in _BY_SERVICE if first <= version]
    return known[-1] if known and version else _NEWEST


def version_sent(cap: Version | None) -> str:
    """Return the RPC version to send ``validate_console_port`` with."""
    return "6.0" if cap is None or cap >= (6, 0) else "5.0"


def topics_for(cap: Version | None) -> tuple[str, ...]:
    """Return the topics that nova-compute may listen on, the one to try first in front.

    Since 33.0.0 it has a second one, which it still serves while it shuts down gracefully.
    """
    if cap is None or cap >= _SECOND_TOPIC_SINCE:
        return ("compute-alt", "compute")
    return ("compute",)
