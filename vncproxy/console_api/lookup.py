"""Finding servers for a caller, to whom those of others don't exist."""

from __future__ import annotations

from collections.abc import Iterable

from vncproxy.compute.interface import (
    ComputeDriver,
    Listing,
    Server,
    ServerAmbiguous,
    ServerNotFound,
)
from vncproxy.console_api.callers import Caller


class Lookup:
    """Asks the driver, and shows a caller only what they may open.

    Args:
        driver: knows all servers.
    """

    def __init__(self, driver: ComputeDriver) -> None:
        self._driver = driver

    async def list_for(self, caller: Caller) -> Listing:
        """Return the caller's servers; the hosts that failed are in it for everybody."""
        listing = await self._driver.list_servers()
        return Listing(tuple(_of(caller, listing.servers)), listing.faults)

    async def find_for(self, caller: Caller, name_or_id: str) -> Server:
        """Return the caller's server of this UUID or name.

        Raises:
            ComputeError: as ``ComputeDriver.find_server``; another's server is not found.
        """
        try:
            server = await self._driver.find_server(name_or_id)
        except ServerAmbiguous as error:
            listing = await self._driver.list_servers()
            same = [server for server in listing.servers if server.id in error.ids]
            return _the_one(name_or_id, list(_of(caller, same)))
        return _the_one(name_or_id, list(_of(caller, [server])))


def _of(caller: Caller, servers: Iterable[Server]) -> Iterable[Server]:
    return (server for server in servers if caller.may_open(server))


def _the_one(name_or_id: str, servers: list[Server]) -> Server:
    if not servers:
        raise ServerNotFound(f"Server {name_or_id} could not be found.")
    if len(servers) > 1:
        raise ServerAmbiguous(name_or_id, servers)
    return servers[0]
