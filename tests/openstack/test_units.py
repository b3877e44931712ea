"""Cells and port check in memory: SQLite for the databases, and a bus that is told what to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import Engine, create_engine, insert
from sqlalchemy.pool import StaticPool
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import InlineThreadPool, ThreadClock, grant_for
from vncproxy.config.read import ConfigError
from vncproxy.errors import (
    InstanceGone,
    PortCheckFailed,
    PortCheckUnavailable,
    StoreUnavailable,
    TokenExpired,
    TokenInvalid,
)
from vncproxy.model import Token
from vncproxy.openstack import port_check
from vncproxy.openstack.bus import NoAnswer, NobodyListens, Question
from vncproxy.openstack.cell_tables import CellMapping, cell_mappings
from vncproxy.openstack.cells import OWN, Cell, Cells
from vncproxy.openstack.port_check import PortCheck
from vncproxy.openstack.schema import CELL0, CELL_MAPPINGS, INSTANCES, METADATA, SERVICES
from vncproxy.threads import IReactor
from vncproxy.tokens.schema import METADATA as TOKENS
from vncproxy.tokens.table import TokenTable

_UUID = "11111111-2222-4333-8444-555555555555"


def database(*hosts: str | None) -> Engine:
    """Return a cell's database, with a machine on each of these computes."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    TOKENS.create_all(engine)
    METADATA.create_all(engine)
    with engine.begin() as connection:
        for host in hosts:
            row = {"uuid": _UUID, "host": host, "node": host, "deleted": 0}
            connection.execute(insert(INSTANCES).values(**row))
    return engine


def dead_database() -> Engine:
    """Return one that can't be opened."""
    return create_engine("sqlite:////nowhere/at/all")


class UnitTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = ThreadClock()

    def cell(self, name: str, engine: Engine, transport_url: str | None = "rabbit://h/") -> Cell:
        reactor = cast(IReactor, self.reactor)
        return Cell(name, engine, transport_url, reactor, InlineThreadPool(), 5)

    def issue(self, engine: Engine, **changes: object) -> Token:
        """Store a token."""
        token = Token.new()
        TokenTable(engine, lambda: 0).add(grant_for(token, **changes))
        return token


class CellsTests(UnitTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.answers: list[list[CellMapping] | Exception] = []
        self.databases: dict[str, Engine] = {}
        self.own = database()

    def cells(self) -> Cells:
        """Return cells, started, whose mappings are the next of ``answers``."""

        def read() -> Deferred[list[CellMapping]]:
            answer = self.answers.pop(0)
            return fail(answer) if isinstance(answer, Exception) else succeed(answer)

        def open_cell(mapping: CellMapping) -> Cell | None:
            if mapping.name == "odd" or mapping.database_template:
                raise ConfigError("no URL")
            if mapping.name == "broken":
                raise RuntimeError("no library")
            return self.cell(mapping.name, self.databases[mapping.name])

        cells = Cells(self.cell(OWN, self.own), cast(IReactor, self.reactor), read, open_cell)
        cells.startService()
        self.addCleanup(cells.stopService)
        return cells

    def mapping(self, name: str, engine: Engine | None = None) -> CellMapping:
        """Return a mapping of a cell with this database."""
        self.databases[name] = engine or database()
        return CellMapping(name, "", "")

    def test_every_cell_is_asked(self) -> None:
        """The grant says which cell has it; what none has is invalid; an expired one is told."""
        self.answers = [[self.mapping("a"), self.mapping("b")]]
        cells = self.cells()
        for name, engine in (("", self.own), ("a", self.databases["a"])):
            grant = self.successResultOf(cells.find(self.issue(engine)))
            self.assertEqual((grant.cell, cells.named(name).name), (name, name))
        self.failureResultOf(cells.find(Token.new()), TokenInvalid)
        expired = self.issue(self.databases["b"], expires=1)
        self.failureResultOf(cells.find(expired), TokenExpired)

    def test_a_cell_that_is_down(self) -> None:
        """Other cells' tokens open; of any other token nobody knows."""
        self.answers = [[self.mapping("a", dead_database()), self.mapping("b")]]
        cells = self.cells()
        self.assertEqual(self.successResultOf(cells.find(self.issue(self.own))).cell, OWN)
        grant = self.successResultOf(cells.find(self.issue(self.databases["b"])))
        self.assertEqual(grant.cell, "b")
        failure = self.failureResultOf(cells.find(Token.new()), StoreUnavailable)
        self.assertTrue(str(failure.value).startswith("cell a: "), failure.value)

    def test_mappings_change(self) -> None:
        """A new cell is served within 30 seconds, one that has gone is not any more."""
        first, second = self.mapping("a"), self.mapping("b")
        self.answers = [[first], [second], StoreUnavailable("away"), ZeroDivisionError()]
        cells = self.cells()
        token = self.issue(self.databases["b"])
        self.failureResultOf(cells.find(token), TokenInvalid)
        self.reactor.advance(30)
        self.successResultOf(cells.find(token))
        self.assertRaises(PortCheckUnavailable, cells.named, "a")
        for _ in range(2):  # two failures, after which what was known holds
            self.reactor.advance(30)
            self.successResultOf(cells.find(token))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_mappings_that_were_never_read(self) -> None:
        """Our own tokens open; of others nobody knows, until they are read."""
        self.answers = [StoreUnavailable("the API database is away"), [self.mapping("a")]]
        cells = self.cells()
        self.successResultOf(cells.find(self.issue(self.own)))
        other = self.issue(self.databases["a"])
        failure = self.failureResultOf(cells.find(other), StoreUnavailable)
        self.assertEqual(str(failure.value), "the API database is away")
        self.reactor.advance(30)
        self.successResultOf(cells.find(other))

    def test_standing_tokens(self) -> None:
        """Are those with rows in whatever cell; while one is down nobody knows."""
        self.answers = [[self.mapping("a")], [self.mapping("b", dead_database())]]
        cells = self.cells()
        tokens = [self.issue(self.own).hash, self.issue(self.databases["a"]).hash]
        standing = self.successResultOf(cells.standing([*tokens, Token.new().hash]))
        self.assertEqual(standing, frozenset(tokens))
        self.reactor.advance(30)
        self.failureResultOf(cells.standing(tokens), StoreUnavailable)

    def test_a_mapping_that_can_t_be_followed(self) -> None:
        """Hurts no other cell; of tokens that are in none of them nobody knows, until it can."""
        self.assert_survives("odd", "no URL")

    def test_a_mapping_on_which_a_library_breaks(self) -> None:
        """The same, whatever it raises."""
        self.assert_survives("broken", "RuntimeError: no library")

    def assert_survives(self, odd: str, why: str) -> None:
        log = EventLoggingObserver.createWithCleanup(cast(Any, self), globalLogPublisher)
        mappings = [self.mapping(odd), self.mapping("b")]
        self.answers = [mappings, mappings, [self.mapping("b")]]
        cells = self.cells()
        self.assertEqual([cell.name for cell in cells.all], [OWN, "b"])
        for engine in (self.own, self.databases["b"]):
            self.successResultOf(cells.find(self.issue(engine)))
        failure = self.failureResultOf(cells.find(Token.new()), StoreUnavailable)
        self.assertEqual(str(failure.value), f"cell {odd} is not served: {why}")
        self.successResultOf(cells.standing([]))  # no console of it ever ran
        self.reactor.advance(30)
        told = [event for event in log if "is not served" in event["log_format"]]
        self.assertEqual([event["fault"] for event in told], [why])
        self.reactor.advance(30)
        self.failureResultOf(cells.find(Token.new()), TokenInvalid)

    def test_the_only_mapping_can_t_be_followed(self) -> None:
        """Not even then is a token that is not our own's said to be not valid."""
        self.answers = [[self.mapping("odd")]]
        cells = self.cells()
        self.successResultOf(cells.find(self.issue(self.own)))
        self.failureResultOf(cells.find(Token.new()), StoreUnavailable)

    def test_a_cell_that_is_lost(self) -> None:
        """When a mapping can't be followed any more, the consoles of its cell are not ended."""
        first, changed = self.mapping("a"), CellMapping("a", "another driver", "")
        self.answers = [[first], [changed]]
        cells = self.cells()
        token = self.issue(self.databases["a"])
        self.assertEqual(
            self.successResultOf(cells.standing([token.hash])), frozenset([token.hash])
        )
        self.reactor.advance(30)
        self.failureResultOf(cells.standing([token.hash]), StoreUnavailable)
        self.failureResultOf(cells.find(token), StoreUnavailable)

    def test_reading_the_mappings(self) -> None:
        """Without cell0, with names that are told apart, and with no password in their repr."""
        engine = database()
        with engine.begin() as connection:
            for uuid, name in ((CELL0, "cell0"), ("u-1", "cell"), ("u-2", "cell"), ("u-3", None)):
                row = {"uuid": uuid, "name": name, "transport_url": "rabbit://u:s3cret@h/"}
                connection.execute(insert(CELL_MAPPINGS).values(**row))
        found = cell_mappings(engine)
        names = [mapping.name for mapping in found]
        self.assertEqual(names, ["cell (u-1)", "cell (u-2)", "u-3"])
        self.assertNotIn("s3cret", repr(found))


class FakeBus:
    """A bus on which computes listen on some topics, and answer as they are told."""

    def __init__(self) -> None:
        self.listening = ["compute"]
        self.error: Exception | None = None
        self.asked: list[tuple[str, str]] = []
        self.closed = False

    def ask(self, topic: str, version: str, question: Question) -> None:
        """Answer a question."""
        self.asked.append((topic, version))
        if topic not in self.listening:
            raise NobodyListens(topic)
        if self.error is not None:
            raise self.error

    def reach(self) -> None:
        """Be there."""

    def close(self) -> None:
        """Be closed."""
        self.closed = True


class PortCheckTests(UnitTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.bus = FakeBus()
        self.opened: list[str] = []
        self.threads: Callable[..., InlineThreadPool] = lambda *_, **__: InlineThreadPool()
        self.patch(port_check, "FreeThreads", lambda *_, **__: self.threads())
        self.engine = database("cmp1")

    def check(self, level: str | None = None, cell: Cell | None = None) -> PortCheck:
        """Return the check of one cell."""

        def open_bus(url: str) -> FakeBus:
            self.opened.append(url)
            return self.bus

        reactor = cast(IReactor, self.reactor)
        cells = Cells(cell or self.cell(OWN, self.engine), reactor)
        return PortCheck(cells, reactor, open_bus, 60, level)

    def test_topics(self) -> None:
        """The second topic first, and then the one that answered; one connection for all."""
        check = self.check()
        grant = grant_for(Token.new())
        for _ in range(2):
            self.successResultOf(check.check(grant))
        self.bus.listening = ["compute-alt"]  # it shuts down gracefully
        self.successResultOf(check.check(grant))
        topics = [topic for topic, _ in self.bus.asked]
        self.assertEqual(topics, ["compute-alt", "compute", "compute", "compute", "compute-alt"])
        self.assertEqual(self.opened, ["rabbit://h/"])

    def test_refusals(self) -> None:
        """Whatever the bus or the database says against it is what the check fails with."""
        check, grant = self.check(), grant_for(Token.new())
        for error in (
            PortCheckFailed("no"),
            InstanceGone("gone"),
            NoAnswer("late"),
            PortCheckUnavailable("dead"),
        ):
            self.bus.error = error
            failure = self.failureResultOf(check.check(grant), type(error))
            self.assertEqual(failure.value, error)
        self.bus.listening = []
        failure = self.failureResultOf(check.check(grant), PortCheckUnavailable)
        self.assertIn("cmp1; is it down?", str(failure.value))

    def test_machines_that_can_t_be_asked_about(self) -> None:
        """Deleted ones, those on no host, a database that is away, and a cell without a bus."""
        grant = grant_for(Token.new())
        for engine, error in (
            (database(), InstanceGone),
            (database(None), PortCheckUnavailable),
            (database(""), PortCheckUnavailable),
            (dead_database(), PortCheckUnavailable),
        ):
            check = self.check(cell=self.cell(OWN, engine))
            self.failureResultOf(check.check(grant), error)
        check = self.check(cell=self.cell(OWN, self.engine, None))
        self.failureResultOf(check.check(grant), PortCheckUnavailable)
        elsewhere = grant_for(Token.new(), cell="gone")
        self.failureResultOf(self.check().check(elsewhere), PortCheckUnavailable)
        self.assertEqual(self.bus.asked, [])

    def test_levels(self) -> None:
        """A release that is named; and auto, which is read again after five minutes."""
        grant = grant_for(Token.new())
        self.successResultOf(self.check("ussuri").check(grant))
        self.assertEqual(self.bus.asked.pop(), ("compute", "5.0"))
        check = self.check("auto")
        self.successResultOf(check.check(grant))  # no computes yet: the newest
        self.assertEqual(self.bus.asked.pop(), ("compute", "6.0"))
        self.add_service(52)
        self.successResultOf(check.check(grant))
        self.assertEqual(self.bus.asked.pop(), ("compute", "5.0"))
        self.add_service(35, forced_down=True)
        with self.engine.begin() as connection:
            connection.execute(SERVICES.update().values(version=56))
        self.successResultOf(check.check(grant))
        self.assertEqual(self.bus.asked.pop(), ("compute", "5.0"))
        self.reactor.advance(301)
        self.successResultOf(check.check(grant))
        self.assertEqual(self.bus.asked.pop(), ("compute", "6.0"))

    def add_service(self, version: int, forced_down: bool = False) -> None:
        values = {"binary": "nova-compute", "deleted": 0, "forced_down": forced_down}
        with self.engine.begin() as connection:
            connection.execute(insert(SERVICES).values(version=version, **values))

    def test_a_bus_that_hangs(self) -> None:
        """Whoever asks is told in time; the eleventh question to a host at once."""
        self.threads = lambda: InlineThreadPool(wait=True)
        check, grant = self.check(), grant_for(Token.new())
        waiting = [check.check(grant) for _ in range(10)]
        failure = self.failureResultOf(check.check(grant), PortCheckUnavailable)
        self.assertIn("10 questions already wait", str(failure.value))
        self.reactor.advance(64)
        for question in waiting:
            self.assertNoResult(question)
        self.reactor.advance(2)
        for question in waiting:
            self.failureResultOf(question, PortCheckUnavailable)
        again = check.check(grant)
        self.assertNoResult(again)
        again.cancel()
        self.failureResultOf(again)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_the_end(self) -> None:
        """Connections are closed, as far as they are open."""
        check = self.check()
        self.successResultOf(check.stopService())
        self.assertFalse(self.bus.closed)
        self.successResultOf(check.check(grant_for(Token.new())))
        self.successResultOf(check.stopService())
        self.assertTrue(self.bus.closed)
