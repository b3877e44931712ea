"""The connection pool to the token database, with a time-out on everything it does."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings
from vncproxy.tokens.private import make_private


def open_database(settings: Settings) -> Engine:
    """Return the pool of connections to the configured database; nothing is opened yet.

    The embedded one's file is made, where it is missing, and made private.

    Raises:
        ConfigError: ``[database] connection`` is no URL, or its driver is not installed; or the
            embedded database can't be made.
    """
    parameters = settings.database.connection_parameters
    engine = open_url(settings.database_url, parameters, settings, "[database] connection")
    if settings.keeps_tokens:
        _make_private(settings.embedded_database)
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def open_url(text: str, parameters: str, settings: Settings, named: str) -> Engine:
    """Return the pool of connections to a database; nothing is opened yet.

    Args:
        text: SQLAlchemy URL, with whatever driver nova uses.
        parameters: more of the URL's query.
        settings: the sizes and times of every pool.
        named: where the URL stands, for the operator.

    Raises:
        ConfigError: it is no URL, or its driver is not installed.
    """
    timeout_s = settings.embedded.database_timeout
    try:
        url = _with_our_driver(make_url(text).update_query_string(parameters))
        return create_engine(
            url,
            pool_pre_ping=True,
            pool_size=settings.database.max_pool_size,
            max_overflow=settings.database.max_overflow,
            pool_recycle=settings.database.connection_recycle_time,
            pool_timeout=timeout_s,
            connect_args=_driver_timeouts(url, timeout_s),
            hide_parameters=True,
        )
    except (ArgumentError, ValueError) as error:
        raise ConfigError(
            f"{named}: not an SQLAlchemy URL; write dialect+driver://user:password@host/database"
        ) from error
    except ImportError as error:
        raise ConfigError(
            f"{named}: the driver {error.name} is not installed"
            + "; pip install 'vncproxy[postgresql]'" * (error.name == "psycopg")
        ) from error


def _with_our_driver(url: URL) -> URL:
    """Return the URL with a driver that is installed, where it names one of nova's defaults."""
    if url.drivername in ("mysql", "mysql+mysqldb", "mariadb"):
        return url.set(drivername="mysql+pymysql")
    if url.drivername in ("postgresql", "postgresql+psycopg2") and not find_spec("psycopg2"):
        return url.set(drivername="postgresql+psycopg")
    return url


def _make_private(database: Path) -> None:
    directory = database.parent
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"[vncproxy] state_path: can't make {directory}: {error.strerror}; name another "
            "directory"
        ) from error
    try:
        make_private(database)
    except OSError as error:
        raise ConfigError(
            f"[vncproxy] state_path: can't make {database}: {error.strerror}; let the gateway's "
            "user write there, or name another directory"
        ) from error


def _driver_timeouts(url: URL, timeout_s: float) -> dict[str, Any]:
    """Return the driver's own words for "give up after this many seconds"."""
    whole_s = max(1, math.ceil(timeout_s))
    match url.get_backend_name():
        case "sqlite":
            return {"timeout": timeout_s}
        case "mysql" | "mariadb":
            return {"connect_timeout": whole_s, "read_timeout": whole_s, "write_timeout": whole_s}
        case "postgresql":
            statement = f"-c statement_timeout={round(timeout_s * 1000)}"
            return {"connect_timeout": whole_s, "options": statement}
        case _:
            return {}


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401  any DB-API's
    # WAL lets the command line write tokens while the gateway reads them.
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
