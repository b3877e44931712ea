"""The service tree of a gateway: what starts, and in which order it stops."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Site
from typing_extensions import override

from vncproxy.compute.drivers import driver_for
from vncproxy.compute.interface import ComputeDriver
from vncproxy.compute.port_check import DriverPortCheck
from vncproxy.config.library import Library, library_for
from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings
from vncproxy.config.topics.times import Times
from vncproxy.interfaces import GrantCheck, Leg, Limits
from vncproxy.kinds import NOVNC, SERIAL, SPICE, Kind
from vncproxy.limits.build import node_limits
from vncproxy.listener import Listener, endpoint_from
from vncproxy.model import Grant, SessionFacts
from vncproxy.observers import Observers
from vncproxy.opening import RawOpening
from vncproxy.registry import Registry
from vncproxy.revocation import RevocationCheck
from vncproxy.rfb.negotiator import Negotiator
from vncproxy.session import SessionPolicy, endless
from vncproxy.session_log import SessionLog
from vncproxy.session_times import SessionTimes, TimeLimits
from vncproxy.splice.engine import Engine
from vncproxy.splice.portable import Splice
from vncproxy.target import Dialer
from vncproxy.target_rules import TargetRules
from vncproxy.target_tls import TargetTls, TlsFiles
from vncproxy.targets_file import TargetsFile
from vncproxy.timed import TimedCheck, TimedStore
from vncproxy.tokens.engine import open_database
from vncproxy.tokens.sql import SqlTokenStore, SqlTokenUses, threads_for
from vncproxy.tokens.table import TokenTable
from vncproxy.tokens.uses import TokenUses
from vncproxy.watching import Watching, metrics_listener, rendered, watching
from vncproxy.web.admission import Admission
from vncproxy.web.gate import Gate
from vncproxy.web.origin import OriginRules
from vncproxy.web.site import ConsoleSite, page_tree, serial_pages, spice_pages
from vncproxy.web.upgrade import ConsoleUpgrade, Verdict
from vncproxy.web.websocket import BrowserFactory
from vncproxy.workers.launch import WorkerLauncher
from vncproxy.workers.parent import Workers
from vncproxy.workers.sockets import HeldOpen

_PURGE_USES_S = 300
_log = Logger()


def build(settings: Settings, reactor: Any, log_path: str | None = None) -> Service:  # noqa: ANN401
    """Return the gateway that these settings describe, not yet started.

    Args:
        settings: of all of it.
        reactor: runs it.
        log_path: the file that twistd's own flag names, or None.

    Raises:
        ConfigError: an option can't be followed.
    """
    database = _Database(settings, reactor)
    gateway = StopInTurn()  # stops from the last to the first: no new browsers, then the sessions
    gateway.addService(DatabaseThreads(database, create_tables=settings.keeps_tokens))
    if settings.purge_interval_s:
        gateway.addService(_purge_timer(database.store.purge, settings.purge_interval_s))
    gateway.addService(_purge_timer(database.uses.purge, _PURGE_USES_S))
    driver = _add_driver(gateway, settings, reactor)
    if settings.processes.workers > 1:
        _add_workers(gateway, settings, reactor, log_path)
    else:
        registry = Registry(reactor, settings.sessions.stop_timeout)
        watched = watching(settings, registry, reactor)
        if watched.metrics is not None:
            gateway.addService(metrics_listener(settings, reactor, rendered(watched)))
        limits = node_limits(settings, reactor.seconds)
        endpoints = [
            endpoint_from(reactor, listen, front.option)
            for front in settings.served
            for listen in front.listeners
        ]
        _add_consoles(
            gateway, settings, reactor, database, driver, registry, endpoints, watched, limits
        )
    if settings.embedded.demo:
        gateway.addService(_demo_console(settings, reactor, database.table))
    return gateway


def build_worker(
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    registry: Registry,
    endpoints: Sequence[IStreamServerEndpoint],
    watched: Watching,
    limits: Limits,
) -> Service:
    """Return what of a gateway runs in each of its workers: all that a session needs.

    Args:
        settings: of all of it.
        reactor: runs it.
        registry: will know the sessions.
        endpoints: of the listeners, in the settings' order.
        watched: who watches the sessions.
        limits: what clients may have at once.

    Raises:
        ConfigError: an option can't be followed.
    """
    database = _Database(settings, reactor)
    worker = StopInTurn()
    worker.addService(DatabaseThreads(database, create_tables=False))
    driver = _add_driver(worker, settings, reactor)
    _add_consoles(worker, settings, reactor, database, driver, registry, endpoints, watched, limits)
    return worker


class _Database:
    """The token database, as a table for the start, and as a store for the sessions."""

    def __init__(self, settings: Settings, reactor: Any) -> None:  # noqa: ANN401
        engine = open_database(settings)
        self.table = TokenTable(engine, time.time)
        self.threads = threads_for(settings.database.max_pool_size + settings.database.max_overflow)
        self.store = SqlTokenStore(
            self.table, reactor, self.threads, settings.embedded.database_timeout
        )
        limits = settings.limits
        uses = TokenUses(engine, time.time, limits.single_use, limits.single_use_resume)
        self.uses = SqlTokenUses(uses, self.store)


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


def _add_consoles(
    gateway: MultiService,
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    database: _Database,
    driver: ComputeDriver | None,
    registry: Registry,
    endpoints: Sequence[IStreamServerEndpoint],
    watched: Watching,
    limits: Limits,
) -> None:
    """Add what serves browsers in this process."""
    database.store.measures = watched.measures
    checks = [*watched.checks, *([DriverPortCheck(driver)] if driver else [])]
    if watched.metrics is not None:
        gateway.addService(watched.metrics)
    gateway.addService(registry)
    interval_s = settings.sessions.revoke_check
    if interval_s:
        check = RevocationCheck(registry, database.store, interval_s, reactor, time.time)
        gateway.addService(check)
    times = settings.times
    time_limits = TimeLimits(
        times.client_idle_timeout, times.server_idle_timeout, times.max_session_time
    )
    if time_limits:
        gateway.addService(SessionTimes(registry, time_limits, reactor))
    admissions = {
        front.kind: _admission(settings, reactor, front.kind, database, limits, watched, checks)
        for front in settings.served
    }
    policy = _session_policy(settings, reactor, watched, list(admissions.values()))
    left = iter(endpoints)
    for front in settings.served:
        _say_where_library_is(library_for(settings, front.kind))
        admission = admissions[front.kind]
        site = _console_site(settings, reactor, front.kind, policy, admission, registry, watched)
        for description in front.listeners:
            gateway.addService(Listener(description, next(left), site, front.options))


def _add_workers(
    gateway: MultiService,
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    log_path: str | None,
) -> None:
    """Add the processes that serve browsers, and the sockets that they accept from."""
    fronts = [(front, listen) for front in settings.served for listen in front.listeners]
    held = [
        (listen, HeldOpen(endpoint_from(reactor, listen, front.option))) for front, listen in fronts
    ]
    count = settings.processes.workers
    limits = node_limits(settings, reactor.seconds, count)
    launcher = WorkerLauncher(reactor, settings, log_path, held, limits)
    workers = Workers(reactor, count, launcher, partial(_exit_with_fault, reactor))
    if settings.watching.metrics_listen:
        gateway.addService(metrics_listener(settings, reactor, partial(_of_all, workers)))
    gateway.addService(workers)
    nobody = Factory()
    nobody.noisy = False
    for (front, description), (_, endpoint) in zip(fronts, held, strict=True):
        gateway.addService(Listener(description, endpoint, nobody, front.options))


def _of_all(workers: Workers) -> Deferred[bytes]:
    """Return the metrics of all workers as one text."""
    from vncproxy.metrics.exposition import merged

    async def ask() -> bytes:
        answers = await workers.metrics()
        return merged({str(number): text for number, text in answers.items()})

    return Deferred.fromCoroutine(ask())


def _exit_with_fault(reactor: Any) -> None:  # noqa: ANN401
    """Stop in order, and let the process end with 1 all the same: twistd would make it 0."""
    atexit.register(os._exit, 1)
    reactor.stop()


def _admission(
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    kind: Kind,
    database: _Database,
    limits: Limits,
    watched: Watching,
    checks: Sequence[GrantCheck],
) -> Admission:
    gate = Gate(
        TimedStore(database.store, watched.measures, reactor),
        OriginRules(settings.console.allowed_origins),
        [kind.console_type],
        [TimedCheck(check, watched.measures, reactor) for check in checks],
    )
    ours = {"'self'", "'none'"}
    framed = any(source not in ours for source in settings.listening.frame_ancestors)
    return Admission(gate, limits, database.uses, time.time, framed)


def _session_policy(
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    watched: Watching,
    admissions: Sequence[Admission],
) -> SessionPolicy:
    """Return what the sessions of every kind of console have in common."""
    return SessionPolicy(
        clock=reactor,
        dialer=Dialer(
            reactor,
            settings.sessions.connect_timeout,
            target_tls_of(settings),
            TargetsFile(settings.targets.targets_file),
            TargetRules(settings.limits.target_networks, settings.limits.target_ports),
        ),
        opener=RawOpening,
        negotiation_timeout_s=settings.sessions.negotiation_timeout,
        observer=Observers([*admissions, SessionLog(), *watched.observers]),
        measures=watched.measures,
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
    admission: Admission,
    registry: Registry,
    watched: Watching,
) -> Site:
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
        upgrade=ConsoleUpgrade(
            admission, policy, registry, websockets, settings.limits.max_unauthenticated
        ),
        verdict=Verdict(admission, policy),
        frame_ancestors=settings.listening.frame_ancestors,
        timeout_s=settings.listening.request_timeout,
        clock=reactor,
        waiting=watched.waiting,
        max_request_size=settings.limits.max_request_size,
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
    library = library_for(settings, kind).root
    ancestors = settings.listening.frame_ancestors
    if kind is NOVNC:
        return page_tree(library, ancestors, _told_limits(settings.times))
    return {SERIAL: serial_pages, SPICE: spice_pages}[kind](library, ancestors)


def _told_limits(times: Times) -> dict[str, float]:
    """Return what the page must know to warn of an end."""
    return {
        "client_idle": times.client_idle_timeout,
        "server_idle": times.server_idle_timeout,
        "session": times.max_session_time,
        "warning": times.end_warning,
    }


def _say_where_library_is(library: Library) -> None:
    if library.fault is None:
        _log.info("{name} is served from {root}", name=library.name, root=library.root)
    elif not library.optional:
        _log.warn("{fault}", fault=library.fault)


def target_tls_of(settings: Settings) -> TargetTls:
    """Return what makes the TLS connections to VNC servers."""
    files = TlsFiles(
        settings.vnc.vencrypt_ca_certs,
        settings.vnc.vencrypt_client_cert,
        settings.vnc.vencrypt_client_key,
    )
    return TargetTls(files, settings.targets.target_identity)


def _purge_timer(purge: Callable[[], Deferred[int]], interval_s: int) -> TimerService:
    async def purge_now() -> None:
        try:
            count = await purge()
        except Exception as error:  # the next turn may do better
            _log.warn("expired tokens could not be purged: {error}", error=error)
        else:
            _log.debug("{count} expired tokens purged", count=count)

    return TimerService(interval_s, lambda: Deferred.fromCoroutine(purge_now()))


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
        database: its threads are started and stopped here.
        create_tables: whether its tables are made at start, because it is our own.
    """

    def __init__(self, database: _Database, create_tables: bool) -> None:
        self._threads = database.threads
        self._table = database.table
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
