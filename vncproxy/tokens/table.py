"""The rows of the token table: plain, blocking calls; the gateway makes them in threads."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, Engine, delete, insert, inspect, select

from vncproxy.errors import StoreUnavailable, TokenExpired, TokenInvalid
from vncproxy.model import Credentials, Grant, Token
from vncproxy.tokens.faults import told_as
from vncproxy.tokens.schema import CONSOLE_AUTH_TOKENS as ROWS
from vncproxy.tokens.schema import METADATA
from vncproxy.tokens.schema import TOKEN_CREDENTIALS as SEALED
from vncproxy.tokens.schema import TOKEN_USES as USES
from vncproxy.tokens.sealed import unseal

_GRANT_COLUMNS = (
    ROWS.c.token_hash,
    ROWS.c.console_type,
    ROWS.c.host,
    ROWS.c.port,
    ROWS.c.instance_uuid,
    ROWS.c.expires,
    ROWS.c.access_url_base,
    ROWS.c.internal_access_path,
)
_MOST_HASHES = 1000  # in one query: SQLite and others bound a query's parameters


class TokenTable:
    """Finds, adds and removes tokens.

    Every method may raise ``StoreUnavailable``, whose text never holds a query's parameters.

    Args:
        engine: pool of connections to the database.
        now: the current time in Unix seconds.
        ours: whether nobody but the gateway and its commands writes there (see ``Grant.ours``).
    """

    def __init__(self, engine: Engine, now: Callable[[], float], ours: bool = False) -> None:
        self._engine = engine
        self._now = now
        self._ours = ours
        self._has_credentials: bool | None = None

    def create(self) -> None:
        """Make the table where it is missing."""
        with transaction(self._engine) as connection:
            METADATA.create_all(connection)

    def check(self) -> None:
        """Raise ``StoreUnavailable``, with the reason, if tokens can't be looked up."""
        with transaction(self._engine) as connection:
            if not inspect(connection).has_table(ROWS.name):
                raise StoreUnavailable(
                    f"the database has no table {ROWS.name}: name nova's cell database in "
                    "[database] connection, or run `vncproxy database create`"
                )
            connection.execute(select(*_GRANT_COLUMNS).limit(1)).first()

    def find(self, token: Token) -> Grant:
        """Return what the token opens.

        Raises:
            TokenInvalid: no row has this token.
            TokenExpired: its row has expired.
        """
        query = select(*_GRANT_COLUMNS).where(ROWS.c.token_hash == token.hash).limit(1)
        with transaction(self._engine) as connection:
            row = connection.execute(query).first()
            if row is None:
                raise TokenInvalid(f"token {token.id} is unknown")
            grant = Grant(*row, ours=self._ours)
            if grant.expires <= int(self._now()):
                raise TokenExpired(f"token {token.id} expired at {grant.expires}")
            return replace(grant, credentials=self._credentials(connection, token))

    def _credentials(self, connection: Connection, token: Token) -> Credentials | None:
        if not self._keeps_credentials(connection):
            return None
        query = select(SEALED.c.sealed).where(SEALED.c.token_hash == token.hash)
        sealed = connection.execute(query).scalar()
        return unseal(sealed, token) if sealed else None

    def _keeps_credentials(self, connection: Connection) -> bool:
        if self._has_credentials is None:
            # Not has_table(), which fails where an account may see nova's tables only.
            self._has_credentials = SEALED.name in inspect(connection).get_table_names()
        return self._has_credentials

    def add(
        self, grant: Grant, sealed_credentials: str | None = None, single_use: bool = False
    ) -> None:
        """Store a new token's row, and the credentials that came with it (``tokens.sealed``).

        A token of single use gets a row in ``vncproxy_token_uses`` (``tokens.uses``).
        """
        created = datetime.datetime.fromtimestamp(int(self._now()), datetime.UTC)
        values = {column.name: getattr(grant, column.name) for column in _GRANT_COLUMNS}
        with transaction(self._engine) as connection:
            connection.execute(
                insert(ROWS).values(**values, created_at=created.replace(tzinfo=None))
            )
            if sealed_credentials is not None:
                sealed = {"token_hash": grant.token_hash, "sealed": sealed_credentials}
                connection.execute(insert(SEALED).values(**sealed))
            if single_use:
                unused = {"token_hash": grant.token_hash, "expires": grant.expires}
                connection.execute(insert(USES).values(**unused))

    def standing(self, token_hashes: Sequence[str]) -> frozenset[str]:
        """Return those of the tokens that have rows, expired or not."""
        found: set[str] = set()
        with transaction(self._engine) as connection:
            for start in range(0, len(token_hashes), _MOST_HASHES):
                some = token_hashes[start : start + _MOST_HASHES]
                query = select(ROWS.c.token_hash).where(ROWS.c.token_hash.in_(some))
                found.update(connection.execute(query).scalars())
        return frozenset(found)

    def live(self) -> list[Grant]:
        """Return the rows that have not expired, the first to expire first."""
        query = (
            select(*_GRANT_COLUMNS)
            .where(ROWS.c.expires > int(self._now()))
            .order_by(ROWS.c.expires, ROWS.c.id)
        )
        with transaction(self._engine) as connection:
            return [Grant(*row) for row in connection.execute(query)]

    def revoke(self, token_hash_prefix: str) -> int:
        """Remove the rows whose hash begins so; return how many there were."""
        begins = ROWS.c.token_hash.startswith(token_hash_prefix, autoescape=True)
        with transaction(self._engine) as connection:
            return self._delete(connection, begins)

    def purge(self) -> int:
        """Remove the rows that have expired; return how many there were."""
        with transaction(self._engine) as connection:
            expired = ROWS.c.expires <= int(self._now())
            return self._delete(connection, expired)

    def _delete(self, connection: Connection, condition: ColumnElement[bool]) -> int:
        count = connection.execute(delete(ROWS).where(condition)).rowcount
        if self._keeps_credentials(connection):
            orphaned = SEALED.c.token_hash.not_in(select(ROWS.c.token_hash))
            connection.execute(delete(SEALED).where(orphaned))
        return count


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction, and commit it.

    Raises:
        StoreUnavailable: the database failed; the text never holds a query's parameters.
    """
    with told_as(StoreUnavailable, "the token database", engine), engine.begin() as connection:
        yield connection
