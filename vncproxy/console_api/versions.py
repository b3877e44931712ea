"""Microversions of the compute API: which one a request is for (facts of 3.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from typing_extensions import override

from vncproxy.console_api.faults import Fault

HEADER = "OpenStack-API-Version"
OLDER_HEADER = "X-OpenStack-Nova-API-Version"
_SERVICE = "compute"
_FORM = re.compile(r"([1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")


@dataclass(frozen=True, order=True, slots=True)
class Microversion:
    """Such as 2.6."""

    major: int
    minor: int

    @override
    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


LOWEST = Microversion(2, 1)
HIGHEST = Microversion(2, 104)
REMOTE_CONSOLES = Microversion(2, 6)  # the actions before it, the resource from it on
MKS_CONSOLES = Microversion(2, 8)
SHOWS_TOKENS = Microversion(2, 31)
SPICE_DIRECT = Microversion(2, 99)  # and no query with os-console-auth-tokens


def version_of(header: str | None, older_header: str | None) -> Microversion:
    """Return the microversion that a request's two headers ask for.

    Raises:
        Fault: 400 where it is malformed, 406 where it is none of ours.
    """
    wanted = _named(header) or (older_header or "").rpartition(",")[2].strip()
    if not wanted:
        return LOWEST
    if wanted == "latest":
        return HIGHEST
    match = _FORM.fullmatch(wanted)
    if match is None:
        raise Fault(400, f"{wanted[:40]!r} is no microversion; give one such as 2.6, or latest.")
    version = Microversion(int(match[1]), int(match[2]))
    if not LOWEST <= version <= HIGHEST:
        served = f"{LOWEST} to {HIGHEST}"
        message = f"Microversion {version} is not served here; those from {served} are."
        raise Fault(406, message, headers_of(version))
    return version


def headers_of(version: Microversion) -> dict[str, str]:
    """Return the headers with which every answer names its microversion."""
    return {
        HEADER: f"{_SERVICE} {version}",
        OLDER_HEADER: str(version),
        "Vary": f"{HEADER}, {OLDER_HEADER}",
    }


def _named(header: str | None) -> str:
    """Return the version of the last entry that is for us, or ""."""
    entries = [entry.split() for entry in (header or "").split(",")]
    named = [words[1] for words in entries if len(words) == 2 and words[0].lower() == _SERVICE]
    return named[-1] if named else ""


def version_document(root: str) -> dict[str, object]:
    """Return what discovery says of the one version there is.

    Args:
        root: URL of the API, without a slash at its end.
    """
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": str(HIGHEST),
        "min_version": str(LOWEST),
        "updated": "2013-07-23T11:33:21Z",  # nova's date: clients show it
        "links": [{"rel": "self", "href": f"{root}/v2.1/"}],
        "media-types": [
            {
                "base": "application/json",
                "type": "application/vnd.openstack.compute+json;version=2.1",
            }
        ],
    }
