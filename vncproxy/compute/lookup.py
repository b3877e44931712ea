"""Which of the servers that were found is the one that was asked for. Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable

from vncproxy.compute.interface import (
    HostUnreachable,
    Listing,
    Server,
    ServerAmbiguous,
    ServerNotFound,
    Status,
)

_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
# Of two hosts that know a server, the one where it runs; a migration's target waits paused.
_PREFERENCE = (Status.ACTIVE, Status.PAUSED, Status.SUSPENDED, Status.ERROR, Status.UNKNOWN)


def canonical_id(text: str) -> str | None:
    """Return the UUID that the text is, lower-case and with dashes; None if it is none."""
    return str(uuid.UUID(text)) if _UUID.fullmatch(text) else None


def made_up_id(name: str) -> str:
    """Return a UUID for a server that has none: the same for the same name, everywhere."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"vncproxy:{name}"))


def one_each(servers: Iterable[Server]) -> list[Server]:
    """Return the servers by name, without those that another host runs under the same UUID.

    A server that is defined on several hosts runs on one of them; a server that migrates is on
    two. Only where two really run are both returned.
    """
    by_id: dict[str, list[Server]] = {}
    for server in servers:
        by_id.setdefault(server.id, []).append(server)
    chosen = [server for same in by_id.values() for server in _best_of(same)]
    return sorted(chosen, key=lambda server: (server.name, server.id, server.host))


def _best_of(same: list[Server]) -> list[Server]:
    for status in _PREFERENCE:
        fitting = [server for server in same if server.status is status]
        if fitting:
            return fitting if status is Status.ACTIVE else fitting[:1]
    return same[:1]


def the_one(asked: str, found: Listing) -> Server:
    """Return the server that was asked for.

    Args:
        asked: its UUID or name.
        found: those that have this UUID or this name, and the hosts that could not be asked.

    Raises:
        ServerNotFound: there is none, and every host was asked.
        ServerAmbiguous: there are several.
        HostUnreachable: there is none, but not every host was asked.
    """
    servers, wanted_id = found.servers, canonical_id(asked)
    fitting = [server for server in servers if server.id == wanted_id] or servers
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ServerAmbiguous(asked, fitting)
    if found.faults:
        raise HostUnreachable(asked, found.faults)
    raise ServerNotFound(f"Server {asked} could not be found.")
