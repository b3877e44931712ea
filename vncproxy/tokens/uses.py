"""Tokens of single use: who opened a console first, and whether somebody is that one again.

The first use is bound to a secret that the gateway gives to the browser as a cookie. With it a
browser whose network failed gets its console back for a short while; nobody else does. All of it is
decided by the database in single statements, so that any number of gateways may race. Plain,
blocking calls; the gateway makes them in threads.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    delete,
    insert,
    inspect,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from vncproxy.errors import StoreUnavailable, TokenUsed
from vncproxy.model import Grant
from vncproxy.tokens.schema import TOKEN_USES as USES
from vncproxy.tokens.table import transaction

_DEADLOCK = 1213  # MySQL's; a Galera cluster answers so to all but one of its nodes
_DENIED = 1142  # MySQL's, also for a table that is not there
_KEPT_AFTER_EXPIRY_S = 3600  # longer than clocks of gateways differ


class Use(enum.Enum):
    """What the use of a token was."""

    UNCOUNTED = "uncounted"  # the token may be used as often as one likes
    FIRST = "first"
    RESUMED = "resumed"


class TokenUses:
    """Counts the uses of the tokens that may be used once.

    Every method may raise ``StoreUnavailable``.

    Args:
        engine: pool of connections to the tokens' database.
        now: the current time in Unix seconds.
        every_token: whether all tokens are of single use, however they were issued.
        resume_s: seconds after the end of its last session in which a token opens its console
            again, for who was first.
    """

    def __init__(
        self, engine: Engine, now: Callable[[], float], every_token: bool, resume_s: int
    ) -> None:
        self._engine = engine
        self._now = now
        self._every_token = every_token
        self._resume_s = resume_s
        self._has_table = False

    def ready(self) -> None:
        """Raise ``StoreUnavailable``, with the reason, if uses must be counted and can't be."""
        with transaction(self._engine) as connection:
            self._ready(connection)

    def use(self, grant: Grant, client: str, secret: str | None, new_secret: str) -> Use:
        """Use the token once.

        Args:
            grant: of the token.
            client: address of who uses it, for the record.
            secret: what the browser shows of an earlier use, if it shows something.
            new_secret: what the browser is given, when this is the first use.

        Raises:
            TokenUsed: somebody else did, or the time to resume is over.
        """
        try:
            return self._use(grant, client, secret, new_secret)
        except StoreUnavailable as error:
            if not _lost_race(error):
                raise
            # Another gateway has just written the row: then we are not the first.
            return self._use(grant, client, secret, new_secret)

    def check(self, grant: Grant, secret: str | None) -> None:
        """Raise what ``use`` would raise now; use nothing."""
        with transaction(self._engine) as connection:
            if not self._ready(connection):
                return
            used = and_(USES.c.token_hash == grant.token_hash, USES.c.first_used.is_not(None))
            row = connection.execute(select(USES.c.token_hash).where(used)).first()
            if row is None:
                return
            if secret is not None:
                same = select(USES.c.token_hash).where(self._may_resume(grant, secret))
                if connection.execute(same).first() is not None:
                    return
            raise TokenUsed(_used(grant))

    def ended(self, grant: Grant, secret: str) -> None:
        """Note that a session has ended, which was opened with this secret."""
        values = {"running": USES.c.running - 1, "ended": int(self._now())}
        ours = and_(self._bound_to(grant, secret), USES.c.running > 0)
        with transaction(self._engine) as connection:
            connection.execute(update(USES).where(ours).values(**values))

    def undo(self, grant: Grant, secret: str) -> None:
        """Make a first use undone: its browser left before it learned the secret."""
        values = {"first_used": None, "binding": None, "running": 0}
        with transaction(self._engine) as connection:
            connection.execute(update(USES).where(self._bound_to(grant, secret)).values(**values))

    def purge(self) -> int:
        """Forget the tokens that have expired; return how many there were."""
        with transaction(self._engine) as connection:
            if not self._ready(connection):
                return 0
            expired = USES.c.expires < int(self._now()) - _KEPT_AFTER_EXPIRY_S
            return connection.execute(delete(USES).where(expired)).rowcount

    def _use(self, grant: Grant, client: str, secret: str | None, new_secret: str) -> Use:
        first = {
            "first_used": int(self._now()),
            "client": client[:255],
            "binding": _binding(new_secret),
            "running": 1,
        }
        this = USES.c.token_hash == grant.token_hash
        with transaction(self._engine) as connection:
            if not self._ready(connection):
                return Use.UNCOUNTED
            row = connection.execute(select(USES.c.first_used).where(this)).first()
            if row is None:
                if not self._every_token:
                    return Use.UNCOUNTED
                values = {"token_hash": grant.token_hash, "expires": grant.expires, **first}
                try:
                    connection.execute(insert(USES).values(**values))
                except IntegrityError as error:
                    raise _LostRace("another use of the token came between") from error
                return Use.FIRST
            unused = and_(this, USES.c.first_used.is_(None))
            if connection.execute(update(USES).where(unused).values(**first)).rowcount:
                return Use.FIRST
            if secret is not None:
                again = update(USES).where(self._may_resume(grant, secret))
                if connection.execute(again.values(running=USES.c.running + 1)).rowcount:
                    return Use.RESUMED
        raise TokenUsed(_used(grant))

    def _may_resume(self, grant: Grant, secret: str) -> ColumnElement[bool]:
        recently = USES.c.ended >= int(self._now()) - self._resume_s
        return and_(self._bound_to(grant, secret), or_(USES.c.running > 0, recently))

    def _bound_to(self, grant: Grant, secret: str) -> ColumnElement[bool]:
        return and_(USES.c.token_hash == grant.token_hash, USES.c.binding == _binding(secret))

    def _ready(self, connection: Connection) -> bool:
        """Whether uses can be counted; a database of nova's need not have the table."""
        # That it is missing is never remembered: it would let tokens pass that are issued later.
        self._has_table = self._has_table or _is_there(connection)
        if self._every_token and not self._has_table:
            raise StoreUnavailable(
                f"[vncproxy] single_use: the database has no table {USES.name}; "
                "run `vncproxy database create`"
            )
        return self._has_table


def _is_there(connection: Connection) -> bool:
    try:
        return inspect(connection).has_table(USES.name)
    except DBAPIError as error:
        if error.orig is not None and error.orig.args[:1] == (_DENIED,):
            return False  # an account that may see nova's own tables only
        raise


class _LostRace(StoreUnavailable):
    """Another gateway has written the token's row between our two statements."""


def _lost_race(error: StoreUnavailable) -> bool:
    original = getattr(error.__cause__, "orig", None)
    return isinstance(error, _LostRace) or getattr(original, "args", ())[:1] == (_DEADLOCK,)


def _binding(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _used(grant: Grant) -> str:
    return f"token {grant.token_id} is of single use, and was used already"
