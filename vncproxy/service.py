"""The service tree of a gateway: what starts, and in which order it stops."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from typing_extensions import override

from vncproxy.compute.drivers import driver_for
from vncproxy.compute.interface import ComputeDriver
from vncproxy.config.read import CommandLine, ConfigError
from vncproxy.config.settings import Settings
from vncproxy.consoles import Consoles, Surroundings
from vncproxy.database import Database, DatabaseThreads, purge_timer
from vncproxy.edge.pending import PendingConnections
from vncproxy.entrance import RELOADED_AT_THE_ENTRANCE, Entrance, console_listener
from vncproxy.interfaces import Limits
from vncproxy.limits.build import node_limits
from vncproxy.listener import Listener, ListenString, endpoint_from
from vncproxy.openstack.deployment import grant_checks
from vncproxy.registry import Registry
from vncproxy.reload import Part, Reload
from vncproxy.supervision import notices, signals
from vncproxy.tokens.issue import TokenIssuer
from vncproxy.tokens.private import exposures
from vncproxy.tokens.sql import SqlTokenStore, threads_for
from vncproxy.tokens.table import TokenTable
from vncproxy.watching import Watching, metrics_listener, pending_beside, rendered, watching
from vncproxy.workers.launch import WorkerLauncher
from vncproxy.workers.parent import Workers
from vncproxy.workers.sockets import HeldOpen

_API_THREADS = 2
_PURGE_USES_S = 300
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
    for front in settings.served:
        for description in front.listeners:  # also of workers, so that faults are told here
            console_listener(settings, description, front.option)
    database = Database(settings, reactor)
    for line in settings.ignored:
        _log.warn("{line}", line=line)
    if settings.keeps_tokens:
        for line in exposures(settings.embedded_database):
            _log.warn("[vncproxy] state_path: {line}", line=line)
    gateway = StopInTurn()  # stops from the last to the first: no new browsers, then the sessions
    gateway.addService(
        DatabaseThreads(
            reactor, database.threads, database.table, create_tables=settings.keeps_tokens
        )
    )
    if settings.purge_interval_s:
        gateway.addService(purge_timer(database.store.purge, settings.purge_interval_s))
    gateway.addService(purge_timer(database.uses.purge, _PURGE_USES_S))
    driver = _add_driver(gateway, settings, reactor)
    pending = pending_beside(settings, reactor)
    if settings.processes.workers > 1:
        grant_checks(settings, reactor, database.cells, driver)  # so that faults are told here
        entrance = Entrance(settings, reactor, with_tls=_needs_tls_beside_consoles(settings))
        _add_workers(gateway, settings, reactor, command_line, entrance, pending, reload_parts)
    else:
        entrance = Entrance(settings, reactor)
        around = _surroundings(settings, reactor, database, driver, entrance, pending)
        _add_consoles(gateway, settings, around, command_line, pending, reload_parts)
    if settings.api.api_listen:
        _add_api(gateway, settings, reactor, driver, database.table, entrance, pending["api"])
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
    read_again: Callable[[], Settings],
    reload_parts: Sequence[Part] = (),
) -> Service:
    """Return what of a gateway runs in each of its workers: all that a session needs.

    Args:
        settings: of all of it.
        reactor: runs it.
        registry: will know the sessions.
        endpoints: of the listeners, in the settings' order.
        watched: who watches the sessions.
        limits: what clients may have at once.
        read_again: returns the settings of a changed configuration, or raises ``ConfigError``.
        reload_parts: what, besides the gateway's own parts, a reload changes.

    Raises:
        ConfigError: an option can't be followed.
    """
    database = Database(settings, reactor)
    worker = StopInTurn()
    threads = DatabaseThreads(reactor, database.threads, database.table, create_tables=False)
    worker.addService(threads)
    driver = _add_driver(worker, settings, reactor)
    entrance = Entrance(settings, reactor)
    around = Surroundings(reactor, database, driver, registry, watched, limits, entrance)
    consoles = Consoles(settings, around)
    reload = Reload(settings, read_again, [*consoles.reload_parts(), *reload_parts])
    worker.addService(signals(reactor, consoles.hurried, reload))
    consoles.add_to(worker, endpoints)
    return worker


def registry_of(settings: Settings, reactor: Any) -> Registry:  # noqa: ANN401
    """Return the registry of a process that serves browsers."""
    return Registry(reactor, settings.stopping.stop_timeout, settings.stopping.drain_timeout)


def _needs_tls_beside_consoles(settings: Settings) -> bool:
    listeners = [*settings.api.api_listen, settings.watching.metrics_listen or ""]
    return any(ListenString.parse(description).https for description in listeners)


def _surroundings(
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    database: Database,
    driver: ComputeDriver | None,
    entrance: Entrance,
    pending: Mapping[str, PendingConnections],
) -> Surroundings:
    """Return what the consoles of a gateway stand on that is one process."""
    registry = registry_of(settings, reactor)
    watched = watching(settings, registry, reactor, pending)
    limits = node_limits(settings, reactor.seconds)
    return Surroundings(reactor, database, driver, registry, watched, limits, entrance)


def _add_consoles(
    gateway: MultiService,
    settings: Settings,
    around: Surroundings,
    command_line: CommandLine,
    pending: Mapping[str, PendingConnections],
    reload_parts: Sequence[Part],
) -> None:
    """Add what serves browsers in this process, where there are no others."""
    reactor, registry, watched = around.reactor, around.registry, around.watched
    if watched.metrics is not None:
        render = rendered(watched)
        gateway.addService(
            metrics_listener(settings, reactor, around.entrance, pending["metrics"], render)
        )
    endpoints = [
        endpoint_from(reactor, listen, front.option)
        for front in settings.served
        for listen in front.listeners
    ]
    consoles = Consoles(settings, around)
    reload = Reload(settings, command_line.read, [*consoles.reload_parts(), *reload_parts])
    gateway.addService(signals(reactor, consoles.hurried, reload))
    consoles.add_to(gateway, endpoints)
    drain_timeout_s = partial(getattr, registry, "drain_timeout_s")
    gateway.addService(notices(settings, reactor, registry, drain_timeout_s))


def _add_workers(
    gateway: MultiService,
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    command_line: CommandLine,
    entrance: Entrance,
    pending: Mapping[str, PendingConnections],
    reload_parts: Sequence[Part],
) -> None:
    """Add the processes that serve browsers, and the sockets that they accept from."""
    fronts = [(front, listen) for front in settings.served for listen in front.listeners]
    held = [
        (listen, HeldOpen(endpoint_from(reactor, listen, front.option))) for front, listen in fronts
    ]
    count = settings.processes.workers
    limits = node_limits(settings, reactor.seconds, count)
    launcher = WorkerLauncher(reactor, settings, command_line, held, limits)
    workers = Workers(reactor, count, launcher, partial(_exit_with_fault, reactor))

    def reload_workers(_new: Settings) -> None:
        launcher.reloaded = True
        workers.signal("HUP")

    parts = [*entrance.reload_parts(), *reload_parts, Part(FOLLOWED_BY_WORKERS, reload_workers)]
    reload = Reload(settings, command_line.read, parts)
    gateway.addService(signals(reactor, [workers], reload))
    if settings.watching.metrics_listen:
        render = partial(_of_all, workers, pending)
        gateway.addService(
            metrics_listener(settings, reactor, entrance, pending["metrics"], render)
        )
    for watch in entrance.watches():
        gateway.addService(watch)
    gateway.addService(workers)
    nobody = Factory()
    nobody.noisy = False
    for (front, description), (_, endpoint) in zip(fronts, held, strict=True):
        gateway.addService(Listener(description, endpoint, nobody, front.options))
    drain_timeout_s = settings.stopping.drain_timeout
    gateway.addService(notices(settings, reactor, workers, lambda: drain_timeout_s))


def _of_all(workers: Workers, pending: Mapping[str, PendingConnections]) -> Deferred[bytes]:
    """Return the metrics of all workers, and of this process, as one text."""
    from vncproxy.metrics.exposition import exposition, merged
    from vncproxy.metrics.node import pending_metrics

    async def ask() -> bytes:
        answers = await workers.metrics()
        texts = {str(number): text for number, text in answers.items()}
        return merged({**texts, "parent": exposition(pending_metrics(pending))})

    return Deferred.fromCoroutine(ask())


def _exit_with_fault(reactor: Any) -> None:  # noqa: ANN401
    """Stop in order, and let the process end with 1 all the same: twistd would make it 0."""
    atexit.register(os._exit, 1)
    reactor.stop()


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


def _add_api(
    gateway: MultiService,
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    driver: ComputeDriver | None,
    table: TokenTable,
    entrance: Entrance,
    pending: PendingConnections,
) -> None:
    """Add what listens for the console API."""
    try:
        from vncproxy.console_api.service import api_site
    except ImportError as error:
        raise ConfigError(
            "[vncproxy] api_listen: the API needs jsonschema; pip install 'vncproxy[api]'"
        ) from error
    # Threads of its own, and few: more keep the reactor waiting for the interpreter's lock.
    threads = threads_for(_API_THREADS)
    timeout_s = settings.embedded.database_timeout
    store = SqlTokenStore(table, reactor, threads, timeout_s, at_once=_API_THREADS)
    gateway.addService(DatabaseThreads(reactor, threads, table, create_tables=False))
    issuer = TokenIssuer(table, time.time, settings.base_urls)
    types = [front.kind.console_type for front in settings.served]
    hardening = entrance.hardening(pending)
    site = api_site(settings, reactor, driver, issuer, store, types, hardening)
    for description in settings.api.api_listen:
        endpoint = endpoint_from(reactor, description, "[vncproxy] api_listen")
        factory = entrance.before_api(site, description)
        gateway.addService(Listener(description, endpoint, factory, "[vncproxy] api_listen"))


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


class DriverInUse(Service):
    """The compute driver of a running gateway, let go of when that stops."""

    def __init__(self, driver: ComputeDriver) -> None:
        self._driver = driver

    @override
    def stopService(self) -> None:
        super().stopService()
        self._driver.stop()
