"""The gate: whether a request may open a console. The cheap checks come first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.web.server import Request

from vncproxy.errors import TokenExpired, TokenInvalid, WrongConsoleType
from vncproxy.interfaces import GrantCheck, Limits, TokenStore
from vncproxy.model import Grant, Token
from vncproxy.web.origin import OriginRules
from vncproxy.web.request import forwarded_proto, host_of, origin_of, token_of


class Gate:
    """Decides on requests for consoles.

    Args:
        store: where tokens are looked up.
        origins: whose pages may open consoles.
        console_types: the types of console that this listener serves.
        checks: what must hold of a grant besides, in this order; the costly ones last.
    """

    def __init__(
        self,
        store: TokenStore,
        origins: OriginRules,
        console_types: Iterable[str],
        checks: Sequence[GrantCheck] = (),
    ) -> None:
        self._store = store
        self._origins = origins
        self._console_types = frozenset(console_types)
        self._checks = tuple(checks)

    async def admit(
        self, request: Request, origin_headers: Sequence[bytes], limits: Limits, client: str
    ) -> Grant:
        """Return what the request's token opens.

        Args:
            request: that asks for a console.
            origin_headers: which may name the origin of the page that made the request.
            limits: what a client may do.
            client: whom they count the request for.

        Raises:
            GatewayError: the request is refused; its class says why.
        """
        token = token_of(request)
        proto = forwarded_proto(request)
        origin = origin_of(request, origin_headers)
        self._origins.check_host(origin, host_of(request))
        grant = await self._find(token, limits, client)
        if grant.console_type not in self._console_types:
            raise WrongConsoleType(
                f"a token of type {grant.console_type} came to a listener for "
                + ", ".join(sorted(self._console_types))
            )
        self._origins.check_scheme(origin, proto, grant.access_url_base)
        for check in self._checks:
            await check.check(grant)
        return grant

    async def _find(self, token: Token, limits: Limits, client: str) -> Grant:
        await limits.begin_look_up(client)
        good: bool | None = None
        try:
            grant = await self._store.find(token)
            good = True
        except (TokenInvalid, TokenExpired):
            good = False
            raise
        finally:
            limits.end_look_up(client, good)
        return grant
