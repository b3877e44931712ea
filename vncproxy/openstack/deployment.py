"""Which cells a gateway serves, and what it asks about a grant: what the settings say of both."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import ArgumentError
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from vncproxy.compute.interface import ComputeDriver
from vncproxy.compute.port_check import DriverPortCheck
from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings
from vncproxy.errors import PortCheckUnavailable, StoreUnavailable
from vncproxy.interfaces import GrantCheck
from vncproxy.openstack.bus import Bus
from vncproxy.openstack.cell_tables import CellMapping, cell_mappings
from vncproxy.openstack.cell_url import fill
from vncproxy.openstack.cells import OWN, Cell, Cells
from vncproxy.openstack.port_check import PortCheck
from vncproxy.openstack.versions import AUTO, cap_of
from vncproxy.reason import reason_of
from vncproxy.threads import BlockingCalls, FreeThreads
from vncproxy.tokens.engine import open_url
from vncproxy.tokens.sql import threads_for

_API_THREADS = 2
_log = Logger()
_UNCHECKED = (
    "a token whose port was given to another machine opens that one; see [vncproxy] port_check"
)


def cells_of(
    settings: Settings,
    reactor: Any,  # noqa: ANN401  all of its interfaces
    engine: Engine,
    threads: ThreadPool,
) -> Cells:
    """Return the cells, of which the one with this database and these threads is our own.

    Raises:
        ConfigError: ``[api_database] connection`` can't be followed.
    """
    timeout_s = settings.embedded.database_timeout
    url = settings.messaging.transport_url
    own = Cell(OWN, engine, url, reactor, threads, timeout_s, ours=settings.keeps_tokens)
    if not settings.api_database.connection:
        return Cells(own, reactor)
    api = _api_database(settings)
    whom = "the API database"
    asking = FreeThreads(0, _API_THREADS, name="API database")
    asking.start()  # it has no thread yet
    calls = BlockingCalls(reactor, asking, timeout_s, whom, StoreUnavailable)

    def read_mappings() -> Deferred[list[CellMapping]]:
        return calls.run(lambda: cell_mappings(api))

    return Cells(own, reactor, read_mappings, partial(_mapped_cell, settings, reactor, own))


def _mapped_cell(
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    own: Cell,
    mapping: CellMapping,
) -> Cell | None:
    """Return a mapping's cell; None for our own, which may learn its bus from it."""
    database_url = fill(mapping.database_template, settings.database.connection)
    transport_url = fill(mapping.transport_template, settings.messaging.transport_url)
    if _place_of(database_url) == _place_of(settings.database_url):
        own.transport_url = own.transport_url or transport_url
        return None
    named = f"cell_mappings.database_connection of {mapping.name}"
    engine = open_url(database_url, settings.database, settings, named)
    threads = threads_for(settings.database.most_connections)
    timeout_s = settings.embedded.database_timeout
    return Cell(mapping.name, engine, transport_url, reactor, threads, timeout_s)


def _place_of(url: str) -> tuple[object, ...]:
    """Return what of a database's URL says where it is."""
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        return (url,)
    socket = parts.query.get("unix_socket")
    return (parts.get_backend_name(), parts.host, parts.port, parts.database, socket)


def grant_checks(
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    cells: Cells,
    driver: ComputeDriver | None,
) -> list[GrantCheck]:
    """Return the checks of grants that ``[vncproxy] port_check`` names.

    Raises:
        ConfigError: they can't be made.
    """
    match settings.port_check:
        case "rpc":
            return [_rpc_check(settings, reactor, cells)]
        case "driver":
            if driver is None:
                raise ConfigError("[vncproxy] port_check: driver: set [vncproxy] compute_driver")
            return [DriverPortCheck(driver)]
        case "off":
            if not settings.keeps_tokens:
                _log.warn("ports are not checked: {risk}", risk=_UNCHECKED)
            return []


def try_port_check(settings: Settings) -> str:
    """Return what is asked about ports, having tried it; blocks.

    Raises:
        ConfigError: an option can't be followed.
        PortCheckUnavailable: no broker can be reached.
        StoreUnavailable: nor the API database.
    """
    if settings.port_check == "off" and not settings.keeps_tokens:
        return f"off: {_UNCHECKED}"
    if settings.port_check != "rpc":
        return settings.port_check
    open_bus, url = _bus_opener(settings), settings.messaging.transport_url
    tried = "nova-compute is asked"
    if url:
        open_bus(url).reach()
        tried += ", and the message bus can be reached"
    if settings.api_database.connection:
        cells = ", ".join(mapping.name for mapping in cell_mappings(_api_database(settings)))
        tried += f"; cells: {cells}"
    return tried


def _api_database(settings: Settings) -> Engine:
    group = settings.api_database
    named = "[api_database] connection"
    return open_url(group.connection or "", group, settings, named)


def _rpc_check(
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    cells: Cells,
) -> PortCheck:
    open_bus, url = _bus_opener(settings), settings.messaging.transport_url
    if url:
        try:
            open_bus(url)  # nothing is connected yet
        except PortCheckUnavailable as error:
            raise ConfigError(f"[DEFAULT] transport_url: {error}") from error
    level = settings.upgrade_levels.compute
    return PortCheck(cells, reactor, open_bus, settings.port_check_timeout_s, level)


def _bus_opener(settings: Settings) -> Callable[[str], Bus]:
    """Return what opens buses, having looked at all options that they need."""
    level = settings.upgrade_levels.compute
    if level and level != AUTO:
        try:
            cap_of(level)
        except ValueError as error:
            raise ConfigError(f"[upgrade_levels] compute: {error}") from error
    if settings.keeps_tokens:
        raise ConfigError("[vncproxy] port_check: rpc needs nova's database: [database] connection")
    if not (settings.messaging.transport_url or settings.api_database.connection):
        raise ConfigError("[vncproxy] port_check: rpc needs [DEFAULT] transport_url")
    try:
        from vncproxy.openstack.oslo_bus import OsloBus
    except ImportError as error:
        raise ConfigError(
            f"[vncproxy] port_check: {error.name} is not installed, so nova-compute can't be "
            "asked whose port it is; pip install 'vncproxy[openstack]'"
        ) from error
    except Exception as error:  # a library below it that this Python, or another one, breaks
        raise ConfigError(
            f"[vncproxy] port_check: oslo.messaging can't be used: {reason_of(error)}"
        ) from error
    return partial(OsloBus, settings.sources, timeout_s=settings.port_check_timeout_s)
