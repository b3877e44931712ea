"""The service tree of a gateway: what starts, and in which order it stops."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from twisted.web.server import Site
from typing_extensions import override

from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings
from vncproxy.interfaces import Leg
from vncproxy.listener import Listener, endpoint_from
from vncproxy.model import SessionFacts
from vncproxy.observers import Observers
from vncproxy.registry import Registry
from vncproxy.session import SessionPolicy
from vncproxy.session_log import SessionLog
from vncproxy.splice.engine import Engine
from vncproxy.splice.portable import Splice
from vncproxy.target import Dialer
from vncproxy.target_tls import TargetTls, TlsFiles
from vncproxy.targets_file import TargetsFile
from vncproxy.tokens.engine import open_database
from vncproxy.tokens.sql import SqlTokenStore, threads_for
from vncproxy.tokens.table import TokenTable
from vncproxy.web.gate import Gate
from vncproxy.web.origin import OriginRules
from vncproxy.web.site import ConsoleSite, page_tree
from vncproxy.web.upgrade import ConsoleUpgrade, Verdict
from vncproxy.web.websocket import BrowserFactory

_CONSOLE_TYPES = ("novnc",)
_log = Logger()


def build(settings: Settings, reactor: Any) -> Service:  # noqa: ANN401  all of its interfaces
    """Return the gateway that these settings describe, not yet started.

    Raises:
        ConfigError: an option can't be followed.
    """
    engine = open_database(settings)
    table = TokenTable(engine, time.time)
    threads = threads_for(settings.database.max_pool_size + settings.database.max_overflow)
    store = SqlTokenStore(table, reactor, threads, settings.embedded.database_timeout)
    registry = Registry(reactor, settings.sessions.stop_timeout)
    site = _console_site(settings, reactor, store, registry)

    _say_where_novnc_is(settings.web_root)
    gateway = StopInTurn()  # stops from the last to the first: no new browsers, then the sessions
    gateway.addService(DatabaseThreads(threads, table, create_tables=settings.keeps_tokens))
    if settings.purge_interval_s:
        gateway.addService(_purge_timer(store, settings.purge_interval_s))
    gateway.addService(registry)
    for description in settings.listeners:
        gateway.addService(Listener(description, endpoint_from(reactor, description), site))
    if settings.embedded.demo:
        gateway.addService(_demo_console(settings, reactor, table))
    return gateway


def _console_site(
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    store: SqlTokenStore,
    registry: Registry,
) -> Site:
    policy = SessionPolicy(
        clock=reactor,
        dialer=Dialer(
            reactor,
            settings.sessions.connect_timeout,
            target_tls_of(settings),
            TargetsFile(settings.targets.targets_file),
        ),
        auth_schemes=settings.vnc.auth_schemes,
        negotiation_timeout_s=settings.sessions.negotiation_timeout,
        observer=Observers([SessionLog()]),
        splice=_splice(settings.sessions.splice, reactor),
    )
    gate = Gate(store, OriginRules(settings.console.allowed_origins), _CONSOLE_TYPES)
    websockets = BrowserFactory(
        settings.sessions.max_message_size, settings.sessions.heartbeat_interval, reactor
    )
    return ConsoleSite(
        pages=page_tree(settings.web_root, settings.listening.frame_ancestors),
        upgrade=ConsoleUpgrade(gate, policy, registry, websockets),
        verdict=Verdict(gate, policy),
        frame_ancestors=settings.listening.frame_ancestors,
        timeout_s=settings.listening.request_timeout,
        clock=reactor,
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


def _say_where_novnc_is(root: Path | None) -> None:
    if root is not None and (root / "core/rfb.js").is_file():
        _log.info("noVNC is served from {root}", root=root)
    else:
        _log.warn(
            "no noVNC in {root}, so no console can be shown; name its directory in [DEFAULT] web",
            root=root or "/usr/share/novnc",
        )


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
    return DemoConsole(reactor, table, settings.vnc.novncproxy_base_url)


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
