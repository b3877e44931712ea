"""The connection pool to the token database, with a time-out on everything it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from twisted.logger import Logger

from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings
from vncproxy.config.topics.api_database import ApiDatabase
from vncproxy.config.topics.database import DatabaseGroup
from vncproxy.tokens.driver import (
    connect_arguments,
    prepare,
    with_our_driver,
    without_watching_plugins,
)
from vncproxy.tokens.faults import database_reason
from vncproxy.tokens.private import make_private

_log = Logger()
_CONNECTION = "[database] connection"


def open_database(settings: Settings) -> Engine:
    """Return the pool of connections to the configured database; nothing is opened yet.

    The embedded one's file is made, where it is missing, and made private.

    Raises:
        ConfigError: ``[database] connection`` is no URL, or its driver is not installed; or the
            embedded database can't be made.
    """
    engine = open_url(settings.database_url, settings.database, settings, _CONNECTION)
    if settings.keeps_tokens:
        _make_private(settings.embedded_database)
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def open_url(
    text: str, options: DatabaseGroup | ApiDatabase, settings: Settings, named: str
) -> Engine:
    """Return the pool of connections to a database; nothing is opened yet.

    Args:
        text: SQLAlchemy URL, with whatever driver nova uses.
        options: say what its connections are told.
        settings: the sizes and times of every pool.
        named: where the URL stands, for the operator.

    Raises:
        ConfigError: it is no URL, or its driver or a plugin is not installed.
    """
    timeout_s = settings.embedded.database_timeout
    url = _parsed(text, options.connection_parameters, named)
    try:
        url, unwatched = without_watching_plugins(url)
        engine = create_engine(
            url,
            pool_pre_ping=True,
            pool_size=max(0, settings.database.max_pool_size),
            max_overflow=max(-1, settings.database.max_overflow),
            pool_recycle=max(-1, settings.database.connection_recycle_time),
            pool_timeout=timeout_s,
            connect_args=connect_arguments(url, timeout_s),
            hide_parameters=True,
        )
        prepare(engine, timeout_s, options.mysql_wsrep_sync_wait)
    except ImportError as error:
        raise ConfigError(
            f"{named}: the driver {error.name} is not installed"
            + "; pip install 'vncproxy[postgresql]'" * (error.name == "psycopg")
        ) from error
    except Exception as error:  # of SQLAlchemy, a dialect, a driver or a plugin
        raise ConfigError(f"{named}: {database_reason(error, url)}") from error
    for plugin in unwatched:
        _log.warn("{named}: {why}", named=named, why=_unwatched_by(plugin))
    return engine


def left_out(settings: Settings) -> list[str]:
    """Return what is to be said of the database's plugins that ``open_database`` leaves out."""
    parameters = settings.database.connection_parameters
    url = _parsed(settings.database_url, parameters, _CONNECTION)
    return [_unwatched_by(plugin) for plugin in without_watching_plugins(url)[1]]


def _unwatched_by(plugin: str) -> str:
    return f"the plugin {plugin} is not installed, and left out: it only counts statements"


def _parsed(text: str, parameters: str, named: str) -> URL:
    try:
        return with_our_driver(make_url(text).update_query_string(parameters))
    except (ArgumentError, ValueError) as error:  # which may repeat the URL
        raise ConfigError(
            f"{named}: not an SQLAlchemy URL; write dialect+driver://user:password@host/database"
        ) from error


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


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401  any DB-API's
    # WAL lets the command line write tokens while the gateway reads them.
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
