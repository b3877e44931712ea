"""The token database of a process: its tables, and the threads that talk to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from typing_extensions import override

from vncproxy.compute.threads import let_go
from vncproxy.config.settings import Settings
from vncproxy.openstack.deployment import cells_of
from vncproxy.tokens.engine import open_database
from vncproxy.tokens.sql import SqlTokenUses, threads_for
from vncproxy.tokens.table import TokenTable
from vncproxy.tokens.uses import TokenUses

_log = Logger()


class Database:
    """The token database, as a table for the start, and as stores for the sessions.

    With OpenStack it is one cell's, and beside it may stand others.

    Args:
        settings: say where it is.
        reactor: runs the callbacks of its threads.

    Raises:
        ConfigError: they can't be followed.
    """

    def __init__(self, settings: Settings, reactor: Any) -> None:  # noqa: ANN401
        engine = open_database(settings)
        self.table = TokenTable(engine, time.time)
        self.threads = threads_for(settings.database.most_connections)
        self.cells = cells_of(settings, reactor, engine, self.threads)
        self.store = self.cells.own.store
        limits = settings.limits
        uses = TokenUses(engine, time.time, limits.single_use, limits.single_use_resume)
        self.uses = SqlTokenUses(uses, self.store)


class DatabaseThreads(Service):
    """The threads that talk to the token database.

    Args:
        reactor: is not kept waiting by them.
        threads: started and stopped here.
        table: made at start, where the database is our own.
        create_tables: whether it is.
    """

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401  it runs threads and time
        threads: ThreadPool,
        table: TokenTable,
        create_tables: bool,
    ) -> None:
        self._reactor = reactor
        self._threads = threads
        self._table = table
        self._create_tables = create_tables

    @override
    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        if self._create_tables:
            self._table.create()

    @override
    def startService(self) -> None:
        super().startService()
        self._threads.start()

    @override
    def stopService(self) -> Deferred[None]:
        super().stopService()
        return let_go(self._reactor, self._threads.stop, "the token database")


def purge_timer(purge: Callable[[], Deferred[int]], interval_s: int) -> TimerService:
    """Return what removes expired rows at an interval."""

    async def purge_now() -> None:
        try:
            count = await purge()
        except Exception as error:  # the next turn may do better
            _log.warn("expired tokens could not be purged: {error}", error=error)
        else:
            _log.debug("{count} expired tokens purged", count=count)

    return TimerService(interval_s, lambda: Deferred.fromCoroutine(purge_now()))
