"""Whether a token's console is still its machine's, when it is opened.

What nova's ``validate_console_port`` is for: between the making of a token and its use a machine
may stop or move, and another one may get its port.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from vncproxy.compute.interface import (
    ComputeDriver,
    ComputeError,
    HostUnreachable,
    ServerNotFound,
    ServerNotRunning,
)
from vncproxy.errors import InstanceGone, PortCheckFailed, PortCheckUnavailable
from vncproxy.model import NO_INSTANCE, Grant

_NOT_RUNNING = "The machine is not running. Start it, and open the console again."


class DriverPortCheck:
    """Asks a compute driver about each grant (see ``interfaces.GrantCheck``).

    A token that was made for a host and a port, and no machine, opens just those.

    Args:
        driver: knows the machines.
    """

    def __init__(self, driver: ComputeDriver) -> None:
        self._driver = driver

    def check(self, grant: Grant) -> Deferred[None]:
        """Fire when the grant's host and port are its machine's console now.

        The Deferred fails with ``InstanceGone``, ``PortCheckFailed`` or ``PortCheckUnavailable``.
        """
        return Deferred.fromCoroutine(self._check(grant))

    async def _check(self, grant: Grant) -> None:
        if grant.instance_uuid == NO_INSTANCE:
            return
        try:
            server = await self._driver.find_server(grant.instance_uuid)
            console = await self._driver.find_console(server, grant.console_type)
        except ServerNotFound as error:
            raise InstanceGone(str(error)) from error
        except HostUnreachable as error:
            raise PortCheckUnavailable(str(error)) from error
        except ServerNotRunning as error:
            raise PortCheckFailed(str(error), _NOT_RUNNING) from error
        except ComputeError as error:
            raise PortCheckFailed(str(error)) from error
        if grant.host != console.host or grant.port not in (console.port, console.tls_port):
            raise PortCheckFailed(
                f"{grant.target} is no {grant.console_type} console of {server.name} any more"
            )
