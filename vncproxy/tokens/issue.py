"""Issuing a token: what nova's compute and conductor do when a user asks for a console."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vncproxy.model import Credentials, Grant, Token
from vncproxy.tokens.access_url import access_url
from vncproxy.tokens.sealed import seal
from vncproxy.tokens.table import TokenTable


@dataclass(frozen=True, slots=True)
class Issued:
    """A token that was just stored, and the URL that opens its console."""

    token: Token
    grant: Grant

    @property
    def url(self) -> str:
        """What the user opens; it holds the token."""
        return access_url(self.grant.access_url_base or "", self.grant.console_type, self.token)


class TokenIssuer:
    """Stores new tokens.

    Args:
        table: where to.
        now: the current time in Unix seconds.
        base_urls: of the pages that show consoles, as browsers reach them, by console type.
    """

    def __init__(
        self, table: TokenTable, now: Callable[[], float], base_urls: Mapping[str, str]
    ) -> None:
        self._table = table
        self._now = now
        self._base_urls = base_urls

    def issue(
        self,
        console_type: str,
        host: str,
        port: int,
        instance_uuid: str,
        ttl_s: int,
        credentials: Credentials | None = None,
        single_use: bool = False,
    ) -> Issued:
        """Store a token that opens this console for ``ttl_s`` seconds; or only once in them.

        The credentials, if the console's server asks for some, are kept sealed with the token.
        """
        token = Token.new()
        grant = Grant(
            token_hash=token.hash,
            console_type=console_type,
            host=host,
            port=port,
            instance_uuid=instance_uuid,
            expires=int(self._now()) + ttl_s,
            access_url_base=self._base_urls[console_type],
        )
        sealed = seal(credentials, token) if credentials else None
        self._table.add(grant, sealed, single_use)
        return Issued(token, grant)
