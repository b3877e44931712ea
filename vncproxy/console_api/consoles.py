"""Opening a console of a server: where it is, a token for it, and the URL (facts of 3.5)."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from vncproxy.compute.interface import (
    NOVNC,
    SERIAL,
    SPICE,
    ComputeDriver,
    Console,
    ConsoleTypeUnsupported,
    NoSuchConsole,
    Server,
)
from vncproxy.console_api.faults import Fault
from vncproxy.tokens.issue import Issued, TokenIssuer
from vncproxy.tokens.sql import SqlTokenStore

PROTOCOLS = {"vnc": NOVNC, "spice": SPICE, "serial": SERIAL}
_NOT_IMPLEMENTED = ("mks",)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request wants of a console.

    Attributes:
        console_type: such as ``novnc``.
        ttl_s: seconds that its URL shall work; None for as long as configured.
        single_use: whether the URL shall open it once only.
    """

    console_type: str
    ttl_s: int | None = None
    single_use: bool = False


def console_type_of(protocol: str, console_type: str) -> str:
    """Return the type, if the protocol has it.

    Raises:
        Fault: 400 where it does not fit, 501 where nobody serves the protocol.
    """
    if protocol in _NOT_IMPLEMENTED:
        raise Fault(501, f"Consoles of protocol {protocol} are not implemented here.")
    if protocol not in PROTOCOLS or console_type == "spice-direct":
        raise Fault(400, f"Consoles of type {console_type} are not available.")
    if PROTOCOLS[protocol] != console_type:
        raise Fault(400, f"The protocol {protocol} has no console type {console_type}.")
    return console_type


def issue_token(
    issuer: TokenIssuer, server: Server, console: Console, wanted: Wanted, ttl_s: int
) -> Issued:
    """Store a token that opens the console; blocking."""
    return issuer.issue(
        console_type=console.console_type,
        host=console.host,
        port=console.port or console.tls_port or 0,
        instance_uuid=server.id,
        ttl_s=ttl_s,
        credentials=console.credentials,
        single_use=wanted.single_use,
        internal_access_path=console.path,
    )


class Consoles:
    """Opens consoles, for those who may.

    Args:
        driver: knows where they are.
        issuer: stores the tokens.
        store: makes its blocking calls in threads.
        console_types: that the gateway serves.
        longest_ttl_s: seconds that a token lives, unless a request wants fewer.
    """

    def __init__(
        self,
        driver: ComputeDriver,
        issuer: TokenIssuer,
        store: SqlTokenStore,
        console_types: Collection[str],
        longest_ttl_s: int,
    ) -> None:
        self._driver = driver
        self._issuer = issuer
        self._store = store
        self._console_types = frozenset(console_types)
        self._longest_ttl_s = longest_ttl_s

    async def kinds_of(self, server: Server) -> dict[str, str]:
        """Return the types of the consoles that the server has, by their protocols.

        Raises:
            ComputeError: nobody can say now, or it does not run.
        """
        kinds = {}
        for protocol, console_type in PROTOCOLS.items():
            if console_type not in self._console_types:
                continue
            with suppress(NoSuchConsole, ConsoleTypeUnsupported):
                await self._driver.find_console(server, console_type)
                kinds[protocol] = console_type
        return kinds

    async def open(self, server: Server, wanted: Wanted) -> Issued:
        """Return a token, and a URL, for a console of the server.

        Raises:
            ComputeError: there is no such console now.
            StoreUnavailable: the token could not be stored.
            Fault: it is wanted for too long.
        """
        ttl_s = self._longest_ttl_s if wanted.ttl_s is None else wanted.ttl_s
        if ttl_s > self._longest_ttl_s:
            most = f"[consoleauth] token_ttl allows {self._longest_ttl_s} s"
            raise Fault(400, f"A ttl of {ttl_s} s is too long; {most}.")
        if wanted.console_type not in self._console_types:
            raise NoSuchConsole(f"Consoles of type {wanted.console_type} are not available.")
        console = await self._driver.find_console(server, wanted.console_type)
        return await self._store.call(
            lambda: issue_token(self._issuer, server, console, wanted, ttl_s)
        )
