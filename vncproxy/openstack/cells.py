"""The cells of a deployment: each with a database of tokens, and a message bus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from sqlalchemy import Engine
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from typing_extensions import override

from vncproxy.compute.threads import let_go
from vncproxy.config.read import ConfigError
from vncproxy.errors import (
    GatewayError,
    PortCheckUnavailable,
    StoreUnavailable,
    TokenExpired,
    TokenInvalid,
)
from vncproxy.model import Grant, Token
from vncproxy.openstack.cell_tables import CellMapping, Instance, find_instance, oldest_compute
from vncproxy.reason import reason_of
from vncproxy.threads import BlockingCalls, IReactor
from vncproxy.tokens.sql import SqlTokenStore
from vncproxy.tokens.table import TokenTable

OWN = ""  # the name of the cell whose database is [database] connection
_REFRESH_S = 30.0


class Cell:
    """One cell.

    Args:
        name: of the cell, for grants and the log.
        engine: pool of connections to its database.
        transport_url: of its message bus, or None.
        reactor: runs the callbacks and the time-outs.
        threads: of its own, so that no other cell waits when this one's database hangs; not
            started.
        timeout_s: of everything asked of the database.
        ours: whether nobody but the gateway and its commands writes there (see ``Grant.ours``).
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        transport_url: str | None,
        reactor: IReactor,
        threads: ThreadPool,
        timeout_s: float,
        ours: bool = False,
    ) -> None:
        self.name = name
        self.transport_url = transport_url
        self._threads = threads
        table = TokenTable(engine, time.time, ours)
        self.store = SqlTokenStore(table, reactor, threads, timeout_s)
        self._engine = engine
        whom = f"the database of cell {name}" if name else "the cell's database"
        self._calls = BlockingCalls(reactor, threads, timeout_s, whom, PortCheckUnavailable)

    def start(self) -> None:
        """Start its threads."""
        self._threads.start()

    def close(self) -> None:
        """End its threads and connections; blocks as long as its database does not answer."""
        self._threads.stop()
        self._engine.dispose()

    def instance(self, uuid: str) -> Deferred[Instance]:
        """Return the machine; see ``cell_tables.find_instance``."""
        return self._calls.run(lambda: find_instance(self._engine, uuid))

    def oldest_compute(self) -> Deferred[int]:
        """Return its computes' lowest service version; see ``cell_tables.oldest_compute``."""
        return self._calls.run(lambda: oldest_compute(self._engine))


class Cells(Service):
    """All cells, as one store of tokens: without OpenStack there is one.

    Args:
        own: the cell of ``[database] connection``.
        reactor: makes the time.
        mappings: asks the API database for all cells; None where none is configured.
        open_cell: makes the cell of a mapping, not started.
    """

    _log = Logger()

    def __init__(
        self,
        own: Cell,
        reactor: IReactor,
        mappings: Callable[[], Deferred[list[CellMapping]]] | None = None,
        open_cell: Callable[[CellMapping], Cell | None] | None = None,
    ) -> None:
        self.own = own
        self._reactor = reactor
        self._mappings = mappings
        self._open_cell = open_cell
        self._mapped: dict[CellMapping, Cell | None] = {}
        self._unserved: dict[CellMapping, str] = {}  # and why
        self._served_once: set[str] = set()
        self._unread = "" if mappings is None else "the API database was not read yet"
        self._refreshing = LoopingCall(self._refresh)
        self._refreshing.clock = reactor

    @override
    def startService(self) -> None:
        super().startService()
        if self._mappings is not None:
            self._refreshing.start(_REFRESH_S)

    @override
    def stopService(self) -> Deferred[list[None]]:
        super().stopService()
        if self._refreshing.running:
            self._refreshing.stop()
        return gatherResults([self._close(mapping) for mapping in list(self._mapped)])

    def _close(self, mapping: CellMapping) -> Deferred[None]:
        cell = self._mapped.pop(mapping)
        if cell is None:
            return succeed(None)
        return let_go(self._reactor, cell.close, f"the database of cell {cell.name}")

    @property
    def all(self) -> list[Cell]:
        """The cells that are known now."""
        return [self.own, *(cell for cell in self._mapped.values() if cell is not None)]

    def named(self, name: str) -> Cell:
        """Return the cell.

        Raises:
            PortCheckUnavailable: it was taken from the API database meanwhile.
        """
        for cell in self.all:
            if cell.name == name:
                return cell
        raise PortCheckUnavailable(f"the cell {name} is none any more")

    def find(self, token: Token) -> Deferred[Grant]:
        """Return what the token opens, in whatever cell (see ``interfaces.TokenStore``)."""
        return Deferred.fromCoroutine(self._find(token))

    def standing(self, token_hashes: Sequence[str]) -> Deferred[frozenset[str]]:
        """Return those of the tokens that have rows (see ``interfaces.TokenRegister``)."""
        return Deferred.fromCoroutine(self._standing(token_hashes))

    async def _standing(self, token_hashes: Sequence[str]) -> frozenset[str]:
        for mapping, fault in self._unserved.items():
            if mapping.name in self._served_once:  # consoles of it may run
                raise StoreUnavailable(f"cell {mapping.name} is not served any more: {fault}")
        asked = [cell.store.standing(token_hashes) for cell in self.all]
        standing: frozenset[str] = frozenset()
        try:
            for found in await gatherResults(asked, consumeErrors=True):
                standing |= found
        except FirstError as error:
            error.subFailure.raiseException()
        return standing

    def check(self) -> Deferred[None]:
        """Fire when our own cell's tokens can be looked up."""
        return self.own.store.check()

    async def _find(self, token: Token) -> Grant:
        cells = self.all
        if len(cells) == 1 and not any(self._faults()):
            return await self.own.store.find(token)
        asked = [cell.store.find(token) for cell in cells]
        # Twisted's types know the list of failures only, not the pair of the first success.
        found: Any = await DeferredList(asked, fireOnOneCallback=True, consumeErrors=True)
        if isinstance(found, list):
            raise self._error_of(token, cells, [failure.value for _, failure in found])
        for answer in asked:
            answer.cancel()
        grant, index = found
        return replace(cast(Grant, grant), cell=cells[index].name)

    def _error_of(
        self, token: Token, cells: list[Cell], errors: list[BaseException]
    ) -> BaseException:
        """Return what is to be said when no cell has the token."""
        for error in errors:
            if isinstance(error, TokenExpired) or not isinstance(error, GatewayError):
                return error
        for cell, error in zip(cells, errors, strict=True):
            if not isinstance(error, TokenInvalid):
                return StoreUnavailable(f"cell {cell.name or '[database]'}: {error}")
        for fault in self._faults():
            return StoreUnavailable(fault)
        return TokenInvalid(f"token {token.id} is unknown in {len(cells)} cells")

    def _faults(self) -> Iterator[str]:
        """Give why there may be tokens that no cell's database can be asked about."""
        if self._unread:
            yield self._unread
        for mapping, fault in self._unserved.items():
            yield f"cell {mapping.name} is not served: {fault}"

    async def _refresh(self) -> None:
        assert self._mappings is not None  # noqa: S101  nobody else starts the loop
        try:
            self._replace(await self._mappings())
        except GatewayError as error:
            if self._unread:
                self._unread = str(error)
            self._log.warn("cells could not be read anew: {error}", error=error)
        except Exception:  # the next turn may do better
            self._log.failure("cells could not be read anew")
        else:
            self._unread = ""

    def _replace(self, mappings: Iterable[CellMapping]) -> None:
        """Open new cells, and let go of those that are none any more."""
        wanted = list(dict.fromkeys(mappings))
        for mapping in [known for known in self._mapped if known not in wanted]:
            self._close(mapping)
        before, self._unserved = self._unserved, {}
        for mapping in wanted:
            if mapping in self._mapped:
                continue
            try:
                self._open(mapping)
            except Exception as error:  # of SQLAlchemy, a dialect, a driver or a plugin
                fault = str(error) if isinstance(error, ConfigError) else reason_of(error)
                self._unserved[mapping] = fault
                if before.get(mapping) != fault:
                    name = mapping.name
                    self._log.error("cell {name} is not served: {fault}", name=name, fault=fault)

    def _open(self, mapping: CellMapping) -> None:
        assert self._open_cell is not None  # noqa: S101  it comes with the mappings
        cell = self._open_cell(mapping)
        if cell is not None:
            cell.start()
            self._served_once.add(mapping.name)
            self._log.info("cell {name} is served", name=mapping.name)
        self._mapped[mapping] = cell
