"""Servers as nova shows them, and which of them a list holds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vncproxy.compute.interface import Server, Status
from vncproxy.console_api.callers import Caller
from vncproxy.console_api.faults import Fault
from vncproxy.console_api.versions import Microversion

_MOST_LISTED = 1000  # nova's [api] max_limit
_EMBEDS_FLAVORS = Microversion(2, 47)
_POWER_STATES = {Status.ACTIVE: 1, Status.PAUSED: 3, Status.SHUTOFF: 4, Status.SUSPENDED: 7}
_VM_STATES = {Status.SHUTOFF: "stopped", Status.UNKNOWN: None}
_WHEN = "1970-01-01T00:00:00Z"  # drivers don't know; clients want a date


@dataclass(frozen=True, slots=True)
class Shown:
    """How servers are shown.

    Attributes:
        root: URL of the API, for links.
        version: in use.
        caller: sees hosts, where they are an admin.
    """

    root: str
    version: Microversion
    caller: Caller

    def brief(self, server: Server) -> dict[str, object]:
        """Return a server as ``GET /servers`` lists it."""
        links = [
            {"rel": "self", "href": f"{self.root}/v2.1/servers/{server.id}"},
            {"rel": "bookmark", "href": f"{self.root}/servers/{server.id}"},
        ]
        return {"id": server.id, "name": server.name, "links": links}

    def full(self, server: Server) -> dict[str, object]:
        """Return a server as ``GET /servers/{id}`` shows it, as far as a driver knows it."""
        flavor: dict[str, object] = {"id": "", "links": []}
        if self.version >= _EMBEDS_FLAVORS:
            flavor = {"original_name": "", "vcpus": 0, "ram": 0, "disk": 0, "extra_specs": {}}
        shown: dict[str, object] = {
            **self.brief(server),
            "status": server.status.value,
            "tenant_id": server.project or "",
            "user_id": "",
            "created": _WHEN,
            "updated": _WHEN,
            "metadata": {},
            "addresses": {},
            "image": "",
            "flavor": flavor,
            "OS-EXT-STS:vm_state": _VM_STATES.get(server.status, server.status.value.lower()),
            "OS-EXT-STS:task_state": None,
            "OS-EXT-STS:power_state": _POWER_STATES.get(server.status, 0),
        }
        if self.caller.admin:
            shown["OS-EXT-SRV-ATTR:host"] = server.host
        return shown


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list; ``following`` is the id behind which the next part begins, or None."""

    servers: Sequence[Server]
    following: str | None


def chosen(servers: Sequence[Server], query: Mapping[str, str], caller: Caller) -> Page:
    """Return the servers that a query's filters leave.

    ``name`` is a part of the name; ``^`` at its begin and ``$`` at its end anchor it. (Nova takes
    a regular expression, with which a request can keep a whole process busy.)

    Raises:
        Fault: the query can't be followed.
    """
    for name, wanted in query.items():
        if name == "name":
            servers = [server for server in servers if _named(server.name, wanted)]
        elif name == "status":
            servers = [server for server in servers if server.status.value == wanted.upper()]
        elif name == "uuid":
            servers = [server for server in servers if server.id == wanted.lower()]
        elif name in ("project_id", "tenant_id"):
            servers = [server for server in servers if server.project == wanted]
        elif name == "host" and caller.admin:  # others are not shown it, so can't ask for it
            servers = [server for server in servers if server.host == wanted]
        elif name == "deleted" and wanted.lower() in ("1", "true", "yes", "on"):
            servers = []  # what is deleted, no driver knows
    return _page(servers, query)


def _named(name: str, wanted: str) -> bool:
    begins, ends = wanted.startswith("^"), wanted.endswith("$")
    part, whole = wanted[begins : len(wanted) - ends].lower(), name.lower()
    if begins and ends:
        return whole == part
    if begins or ends:
        return whole.startswith(part) if begins else whole.endswith(part)
    return part in whole


def _page(servers: Sequence[Server], query: Mapping[str, str]) -> Page:
    marker = query.get("marker")
    if marker:
        places = [place for place, server in enumerate(servers) if server.id == marker]
        if not places:
            raise Fault(400, f"No server {marker[:40]!r} to begin behind; give another marker.")
        servers = servers[places[0] + 1 :]
    limit = query.get("limit", str(_MOST_LISTED))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
        raise Fault(400, "The limit must be a number, 0 or more.")
    count = min(int(limit) or _MOST_LISTED, _MOST_LISTED)
    more = len(servers) > count
    return Page(servers[:count], servers[count - 1].id if more else None)
