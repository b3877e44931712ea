"""The service tree of a gateway: what starts, and in which order it stops."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import Resource
from typing_extensions import override

from vncproxy.compute.drivers import driver_for
from vncproxy.compute.interface import ComputeDriver
from vncproxy.config.library import Library, library_for
from vncproxy.config.read import CommandLine, ConfigError
from vncproxy.config.settings import Settings
from vncproxy.entrance import RELOADED_AT_THE_ENTRANCE, Entrance
from vncproxy.interfaces import Leg
from vncproxy.kinds import NOVNC, SERIAL, SPICE, Kind
from vncproxy.listener import Listener, endpoint_from
from vncproxy.model import Grant, SessionFacts
from vncproxy.observers import Observers
from vncproxy.opening import RawOpening
from vncproxy.openstack.deployment import cells_of, grant_checks
from vncproxy.readiness import Readiness
from vncproxy.registry import Registry
from vncproxy.reload import Part, Reload
from vncproxy.revocation import RevocationCheck
from vncproxy.rfb.negotiator import Negotiator
from vncproxy.session import SessionPolicy, endless
from vncproxy.session_log import SessionLog
from vncproxy.splice.engine import Engine
from vncproxy.splice.portable import Splice
from vncproxy.supervision import Hurried, notices, signals
from vncproxy.target import Dialer
from vncproxy.target_tls import TargetTls, TlsFiles
from vncproxy.targets_file import TargetsFile
from vncproxy.tokens.engine import open_database
from vncproxy.tokens.issue import TokenIssuer
from vncproxy.tokens.sql import SqlTokenStore, threads_for
from vncproxy.tokens.table import TokenTable
from vncproxy.web.forwarding import Forwarding
from vncproxy.web.gate import Gate
from vncproxy.web.health import Healthz, Readyz
from vncproxy.web.origin import OriginRules
from vncproxy.web.site import ConsoleSite, page_tree, serial_pages, spice_pages
from vncproxy.web.upgrade import ConsoleUpgrade, Verdict
from vncproxy.web.websocket import BrowserFactory
from vncproxy.workers.launch import WorkerLauncher
from vncproxy.workers.parent import Workers
from vncproxy.workers.sockets import HeldOpen

_API_THREADS = 2
FOLLOWED_BY_WORKERS = (
    *RELOADED_AT_THE_ENTRANCE,
    "[console] allowed_origins",
    "[vncproxy] drain_timeout",
)
_log = Logger()


def build(
    settings: Settings,
    reactor: Any,  # noqa: ANN401  all of its interfaces
    command_line: CommandLine,
    reload_parts: Sequence[Part] = (),
) -> Service:
    """Return the gateway that these settings describe, not yet started.

    Args:
        settings: all options.
        reactor: runs it.
        command_line: of this process, to read a changed configuration by.
        reload_parts: what, besides the gateway's own parts, a reload changes.

    Raises:
        ConfigError: an option can't be followed.
    """
    database = _Database(settings, reactor)
    for line in settings.ignored:
        _log.warn("{line}", line=line)
    gateway = StopInTurn()  # stops from the last to the first: no new browsers, then the sessions
    gateway.addService(
        DatabaseThreads(database.threads, database.table, create_tables=settings.keeps_tokens)
    )
    if settings.purge_interval_s:
        gateway.addService(_purge_timer(database.store, settings.purge_interval_s))
    driver = _add_driver(gateway, settings, reactor)
    if settings.processes.workers > 1:
        grant_checks(settings, reactor, database.cells, driver)  # so that faults are told here
        _add_workers(gateway, settings, reactor, command_line, reload_parts)
    else:
        registry = registry_of(settings, reactor)
        endpoints = [
            endpoint_from(reactor, listen, front.option)
            for front in settings.served
            for listen in front.listeners
        ]
        consoles = _Consoles(settings, reactor, database, driver, registry)
        reload = Reload(settings, command_line.read, [*consoles.reload_parts(), *reload_parts])
        gateway.addService(signals(reactor, consoles.hurried, reload))
        consoles.add_to(gateway, endpoints)
        drain_timeout_s = partial(getattr, registry, "drain_timeout_s")
        gateway.addService(notices(settings, reactor, registry, drain_timeout_s))
    for part in _console_api(settings, reactor, driver, database.table):
        gateway.addService(part)
    if settings.embedded.demo:
        gateway.addService(_demo_console(settings, reactor, database.table))
    return gateway


def _console_api(
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    driver: ComputeDriver | None,
    table: TokenTable,
) -> Iterator[Service]:
    """Give what listens for the console API, where it is wanted."""
    if not settings.api.api_listen:
        return
    try:
        from vncproxy.console_api.service import api_factory
    except ImportError as error:
        raise ConfigError(
            "[vncproxy] api_listen: the API needs jsonschema; pip install 'vncproxy[api]'"
        ) from error
    # Threads of its own, and few: more keep the reactor waiting for the interpreter's lock.
    threads = threads_for(_API_THREADS)
    timeout_s = settings.embedded.database_timeout
    store = SqlTokenStore(table, reactor, threads, timeout_s, at_once=_API_THREADS)
    yield DatabaseThreads(threads, table, create_tables=False)
    issuer = TokenIssuer(table, time.time, settings.base_urls)
    types = [front.kind.console_type for front in settings.served]
    factory = api_factory(settings, reactor, driver, issuer, store, types)
    for description in settings.api.api_listen:
        endpoint = endpoint_from(reactor, description, "[vncproxy] api_listen")
        yield Listener(description, endpoint, factory, "[vncproxy] api_listen")


def build_worker(
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    registry: Registry,
    endpoints: Sequence[IStreamServerEndpoint],
    read_again: Callable[[], Settings],
    reload_parts: Sequence[Part] = (),
) -> Service:
    """Return what of a gateway runs in each of its workers: all that a session needs.

    Args:
        settings: of all of it.
        reactor: runs it.
        registry: will know the sessions.
        endpoints: of the listeners, in the settings' order.
        read_again: returns the settings of a changed configuration, or raises ``ConfigError``.
        reload_parts: what, besides the gateway's own parts, a reload changes.

    Raises:
        ConfigError: an option can't be followed.
    """
    database = _Database(settings, reactor)
    worker = StopInTurn()
    worker.addService(DatabaseThreads(database.threads, database.table, create_tables=False))
    driver = _add_driver(worker, settings, reactor)
    consoles = _Consoles(settings, reactor, database, driver, registry)
    reload = Reload(settings, read_again, [*consoles.reload_parts(), *reload_parts])
    worker.addService(signals(reactor, consoles.hurried, reload))
    consoles.add_to(worker, endpoints)
    return worker


def registry_of(settings: Settings, reactor: Any) -> Registry:  # noqa: ANN401
    """Return the registry of a process that serves browsers."""
    return Registry(reactor, settings.stopping.stop_timeout, settings.stopping.drain_timeout)


class _Database:
    """The token database, as a table for the start, and as stores for the sessions."""

    def __init__(self, settings: Settings, reactor: Any) -> None:  # noqa: ANN401
        engine = open_database(settings)
        self.table = TokenTable(engine, time.time)
        self.threads = threads_for(settings.database.max_pool_size + settings.database.max_overflow)
        self.cells = cells_of(settings, reactor, engine, self.threads)
        self.store = self.cells.own.store


def _add_driver(
    gateway: MultiService,
    settings: Settings,
    reactor: Any,  # noqa: ANN401
) -> ComputeDriver | None:
    """Add the compute driver, if one is configured, and return it."""
    driver = driver_for(settings, reactor)
    if driver is not None:
        gateway.addService(DriverInUse(driver))
    return driver


class _Consoles:
    """What serves browsers in a process, and what of it signals concern."""

    def __init__(
        self,
        settings: Settings,
        reactor: Any,  # noqa: ANN401
        database: _Database,
        driver: ComputeDriver | None,
        registry: Registry,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._store = database.cells
        self._checks = grant_checks(settings, reactor, database.cells, driver)
        self._registry = registry
        self._policy = _session_policy(settings, reactor)
        self._readiness = Readiness(self._store.check, reactor, settings.stopping.drain_notice)
        self._entrance = Entrance.of(settings, reactor)
        self._forwarding = self._entrance.forwarding(settings)
        self._origins = OriginRules(settings.console.allowed_origins)
        self._sites = [(front, self._site(front.kind)) for front in settings.served]
        lobbies = [site.lobby for _, site in self._sites]
        self.hurried: list[Hurried] = [self._readiness, *lobbies, registry]

    def _site(self, kind: Kind) -> ConsoleSite:
        gate = Gate(self._store, self._origins, [kind.console_type], self._checks)
        site = _console_site(
            self._settings,
            self._reactor,
            kind,
            self._policy,
            gate,
            self._registry,
            self._forwarding,
        )
        site.resource.putChild(b"healthz", Healthz())
        site.resource.putChild(b"readyz", Readyz(self._readiness))
        return site

    def add_to(self, tree: MultiService, endpoints: Sequence[IStreamServerEndpoint]) -> None:
        """Add the services, in the order of their start."""
        _say_if_cert_is_missing(self._settings)
        tree.addService(self._store)
        for check in self._checks:
            if isinstance(check, Service):
                tree.addService(check)
        tree.addService(self._registry)
        interval_s = self._settings.sessions.revoke_check
        if interval_s:
            revocation = RevocationCheck(
                self._registry, self._store, interval_s, self._reactor, time.time
            )
            tree.addService(revocation)
        left = iter(endpoints)
        for _, site in self._sites:
            tree.addService(site.lobby)
        for front, site in self._sites:
            _say_where_library_is(library_for(self._settings, front.kind))
            for description in front.listeners:
                factory = self._entrance.before(site, description, front.option)
                tree.addService(Listener(description, next(left), factory, front.options))
        for watch in self._entrance.watches():
            tree.addService(watch)
        tree.addService(self._readiness)

    def reload_parts(self) -> list[Part]:
        """Return what a reload can change."""
        return [
            *self._entrance.reload_parts(),
            Part(
                ("[console] allowed_origins",),
                lambda new: self._origins.allow(new.console.allowed_origins),
            ),
            Part(
                ("[vncproxy] drain_timeout",),
                lambda new: setattr(self._registry, "drain_timeout_s", new.stopping.drain_timeout),
            ),
        ]


def _add_workers(
    gateway: MultiService,
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    command_line: CommandLine,
    reload_parts: Sequence[Part],
) -> None:
    """Add the processes that serve browsers, and the sockets that they accept from."""
    fronts = [(front, listen) for front in settings.served for listen in front.listeners]
    held = [
        (listen, HeldOpen(endpoint_from(reactor, listen, front.option))) for front, listen in fronts
    ]
    launcher = WorkerLauncher(reactor, settings, command_line, held)
    count = settings.processes.workers
    workers = Workers(reactor, count, launcher, partial(_exit_with_fault, reactor))

    def reload_workers(_new: Settings) -> None:
        launcher.reloaded = True
        workers.signal("HUP")

    parts = [*reload_parts, Part(FOLLOWED_BY_WORKERS, reload_workers)]
    reload = Reload(settings, command_line.read, parts)
    gateway.addService(signals(reactor, [workers], reload))
    gateway.addService(workers)
    nobody = Factory()
    nobody.noisy = False
    for (front, description), (_, endpoint) in zip(fronts, held, strict=True):
        gateway.addService(Listener(description, endpoint, nobody, front.options))
    drain_timeout_s = settings.stopping.drain_timeout
    gateway.addService(notices(settings, reactor, workers, lambda: drain_timeout_s))


def _exit_with_fault(reactor: Any) -> None:  # noqa: ANN401
    """Stop in order, and let the process end with 1 all the same: twistd would make it 0."""
    atexit.register(os._exit, 1)
    reactor.stop()


def _session_policy(settings: Settings, reactor: Any) -> SessionPolicy:  # noqa: ANN401
    """Return what the sessions of every kind of console have in common."""
    return SessionPolicy(
        clock=reactor,
        dialer=Dialer(
            reactor,
            settings.sessions.connect_timeout,
            target_tls_of(settings),
            TargetsFile(settings.targets.targets_file),
        ),
        opener=RawOpening,
        negotiation_timeout_s=settings.sessions.negotiation_timeout,
        observer=Observers([SessionLog()]),
        splice=_splice(settings.sessions.splice, reactor),
        lifetime_s=_rest_of_token if settings.consoleauth.enforce_session_timeout else endless,
    )


def _rest_of_token(grant: Grant) -> float:
    return grant.expires - time.time()


def _console_site(
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    kind: Kind,
    policy: SessionPolicy,
    gate: Gate,
    registry: Registry,
    forwarding: Forwarding,
) -> ConsoleSite:
    if kind.speaks_rfb:
        opener = partial(Negotiator, auth_schemes=settings.vnc.auth_schemes)
        policy = replace(policy, opener=opener)
    websockets = BrowserFactory(
        settings.sessions.max_message_size,
        settings.sessions.heartbeat_interval,
        reactor,
        kind.takes_text,
    )
    return ConsoleSite(
        pages=_pages(settings, kind),
        upgrade=ConsoleUpgrade(gate, policy, registry, websockets),
        verdict=Verdict(gate, policy),
        frame_ancestors=settings.listening.frame_ancestors,
        timeout_s=settings.listening.request_timeout,
        clock=reactor,
        forwarding=forwarding,
    )


def _splice(
    choice: str,
    reactor: Any,  # noqa: ANN401
) -> Callable[[Leg, Leg, SessionFacts], Splice]:
    if choice == "portable" or (choice == "auto" and not Engine.is_possible(reactor)):
        return Splice
    if not Engine.is_possible(reactor):
        raise ConfigError("[vncproxy] splice: there is no epoll here; choose auto or portable")
    return Engine(reactor).splice


def _pages(settings: Settings, kind: Kind) -> Resource:
    pages = {NOVNC: page_tree, SERIAL: serial_pages, SPICE: spice_pages}[kind]
    return pages(library_for(settings, kind).root, settings.listening.frame_ancestors)


def _say_where_library_is(library: Library) -> None:
    if library.fault is None:
        _log.info("{name} is served from {root}", name=library.name, root=library.root)
    elif not library.optional:
        _log.warn("{fault}", fault=library.fault)


def _say_if_cert_is_missing(settings: Settings) -> None:
    cert = settings.default.cert
    if settings.cert is None and cert not in ("self.pem", "none"):
        _log.warn("[DEFAULT] cert: {cert} does not exist, so it is not served", cert=cert)


def target_tls_of(settings: Settings) -> TargetTls:
    """Return what makes the TLS connections to VNC servers."""
    files = TlsFiles(
        settings.vnc.vencrypt_ca_certs,
        settings.vnc.vencrypt_client_cert,
        settings.vnc.vencrypt_client_key,
    )
    return TargetTls(files, settings.targets.target_identity)


def _purge_timer(store: SqlTokenStore, interval_s: int) -> TimerService:
    async def purge() -> None:
        try:
            count = await store.purge()
        except Exception as error:  # the next turn may do better
            _log.warn("expired tokens could not be purged: {error}", error=error)
        else:
            _log.debug("{count} expired tokens purged", count=count)

    return TimerService(interval_s, lambda: Deferred.fromCoroutine(purge()))


def _demo_console(settings: Settings, reactor: Any, table: TokenTable) -> Service:  # noqa: ANN401
    try:
        from vncproxy.demo.service import DemoConsole
    except ImportError as error:
        raise ConfigError(
            "[vncproxy] demo: the demo console needs Pillow; pip install 'vncproxy[demo]'"
        ) from error
    return DemoConsole(reactor, table, settings.base_urls)


class StopInTurn(MultiService):
    """Stops its children one after another, the last added first."""

    _log = Logger()

    @override
    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop_in_turn())

    async def _stop_in_turn(self) -> None:
        Service.stopService(self)
        for child in reversed(list(self)):
            try:
                await maybeDeferred(child.stopService)
            except Exception:  # one bad child must not keep the others open
                self._log.failure("{child} did not stop cleanly", child=child)


class DatabaseThreads(Service):
    """The threads that talk to the token database.

    Args:
        threads: started and stopped here.
        table: made at start, where the database is our own.
        create_tables: whether it is.
    """

    def __init__(self, threads: ThreadPool, table: TokenTable, create_tables: bool) -> None:
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
    def stopService(self) -> None:
        super().stopService()
        self._threads.stop()


class DriverInUse(Service):
    """The compute driver of a running gateway, let go of when that stops."""

    def __init__(self, driver: ComputeDriver) -> None:
        self._driver = driver

    @override
    def stopService(self) -> None:
        super().stopService()
        self._driver.stop()
