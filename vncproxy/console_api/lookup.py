"""Finding servers for a caller, to whom those of others don't exist."""

from __future__ import annotations

from collections.abc import Iterable

from vncproxy.compute.interface import (
    ComputeDriver,
    Listing,
    Server,
)
from vncproxy.compute.lookup import the_one
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

        The driver is asked the same for every name, and what others have is left out before
        anything is concluded from its answer: so another's server is not found while all hosts
        answer, and can't be looked up while one does not, as what no host has.

        Raises:
            ComputeError: as ``ComputeDriver.find_server``.
        """
        found = await self._driver.find_servers(name_or_id)
        return the_one(name_or_id, Listing(tuple(_of(caller, found.servers)), found.faults))


def _of(caller: Caller, servers: Iterable[Server]) -> Iterable[Server]:
    return (server for server in servers if caller.may_open(server))
