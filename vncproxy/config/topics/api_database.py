"""Nova's API database, which knows all cells."""

from __future__ import annotations

from dataclasses import dataclass, field

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class ApiDatabase:
    """The values of these options of ``[api_database]``."""

    connection: str | None = field(repr=False)
    connection_parameters: str
    mysql_wsrep_sync_wait: int | None


OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "connection",
        secret=True,
        help="SQLAlchemy URL of nova's API database. With it the gateway serves every cell in "
        "`cell_mappings`, besides that of `[database] connection`; without it, that one.",
    ),
    cfg.StrOpt("connection_parameters", default="", help="As `[database] connection_parameters`."),
    cfg.IntOpt("mysql_wsrep_sync_wait", help="As `[database] mysql_wsrep_sync_wait`."),
]

TOPIC = Topic("api_database", "api_database", OPTIONS, ApiDatabase)
