"""How each kind of database is talked to: its driver, time-outs, and what a connection is told.

All of it fits a pooler that gives each transaction another server connection (PgBouncer): nothing
is asked for at a connection's start, nor left behind on it.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.dialects import plugins
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from vncproxy.errors import StoreUnavailable

# Those that only watch: without them the database is asked, and answers, just the same.
_WATCHING_PLUGINS = frozenset({"dbcounter"})  # devstack's, in every connection that it writes
_UNKNOWN_VARIABLE = 1193  # MySQL's


def with_our_driver(url: URL) -> URL:
    """Return the URL with a driver that is installed, where it names one of nova's defaults."""
    if url.drivername in ("mysql", "mysql+mysqldb", "mariadb"):
        return url.set(drivername="mysql+pymysql")
    if url.drivername in ("postgresql", "postgresql+psycopg2") and not find_spec("psycopg2"):
        return url.set(drivername="postgresql+psycopg")
    return url


def without_watching_plugins(url: URL) -> tuple[URL, tuple[str, ...]]:
    """Return the URL without the plugins that only watch and are not installed, and their names.

    Raises:
        ArgumentError: another plugin is not installed; the text names it.
    """
    wanted = url.query.get("plugin", ())
    names = (wanted,) if isinstance(wanted, str) else wanted
    absent = tuple(name for name in names if not _is_installed(name))
    for name in absent:
        if name not in _WATCHING_PLUGINS:
            raise ArgumentError(
                f"the SQLAlchemy plugin {name} is not installed; install it where vncproxy is, "
                "or leave it out of the URL"
            )
    if not absent:
        return url, ()
    kept = tuple(name for name in names if name not in absent)
    rest = url.difference_update_query(["plugin"])
    return (rest.update_query_dict({"plugin": kept}) if kept else rest), absent


def _is_installed(plugin: str) -> bool:
    try:
        plugins.load(plugin)
    except NoSuchModuleError:
        return False
    return True


def connect_arguments(url: URL, timeout_s: float) -> dict[str, Any]:
    """Return what the driver's ``connect`` is given besides the URL.

    Raises:
        ArgumentError: the URL's ``prepare_threshold`` is no number.
    """
    whole_s = max(1, math.ceil(timeout_s))
    match url.get_backend_name():
        case "sqlite":
            return {"timeout": timeout_s}
        case "mysql" | "mariadb":
            return {"connect_timeout": whole_s, "read_timeout": whole_s, "write_timeout": whole_s}
        case "postgresql" if url.get_driver_name() == "psycopg":
            return {"connect_timeout": whole_s, "prepare_threshold": _prepare_threshold(url)}
        case "postgresql":
            return {"connect_timeout": whole_s}
        case _:
            return {}


def _prepare_threshold(url: URL) -> int | None:
    """Return after how many uses psycopg prepares a statement: as the URL has it, else never.

    A statement is prepared on a server's connection, and a pooler may give us another one.
    """
    chosen = url.query.get("prepare_threshold", "None")
    if chosen == "None":
        return None
    if not (isinstance(chosen, str) and chosen.isdecimal()):
        raise ArgumentError("prepare_threshold must be a number, or None")
    return int(chosen)


def prepare(engine: Engine, timeout_s: float, wsrep_sync_wait: int | None) -> None:
    """Let the engine's connections be told what they need.

    Args:
        engine: not connected yet.
        timeout_s: seconds, > 0, that a statement may take.
        wsrep_sync_wait: of a Galera cluster; None to leave it as it is.
    """
    if engine.dialect.name == "postgresql":
        _bound_statements(engine, timeout_s)
        if engine.dialect.driver == "psycopg":
            from vncproxy.tokens.psycopg_deadline import connect_with_deadline

            event.listen(engine, "do_connect", connect_with_deadline(timeout_s))
    if engine.dialect.name in ("mysql", "mariadb") and wsrep_sync_wait is not None:
        wait = wsrep_sync_wait
        event.listen(
            engine, "connect", lambda connection, _record: wait_for_galera(connection, wait)
        )


def _bound_statements(engine: Engine, timeout_s: float) -> None:
    def begin(connection: Connection) -> None:
        milliseconds = max(1, round(timeout_s * 1000))
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")

    event.listen(engine, "begin", begin)


def wait_for_galera(connection: Any, wsrep_sync_wait: int) -> None:  # noqa: ANN401  any DB-API's
    """Let a node answer on this connection only when it has applied what others had written.

    Raises:
        StoreUnavailable: the server is none of a Galera cluster.
    """
    cursor = connection.cursor()
    try:
        cursor.execute("SET SESSION wsrep_sync_wait = %s", (wsrep_sync_wait,))
    except Exception as error:
        if error.args[:1] == (_UNKNOWN_VARIABLE,):
            raise StoreUnavailable(
                "mysql_wsrep_sync_wait is set, but this server has no Galera; unset it"
            ) from error
        raise
    finally:
        cursor.close()
