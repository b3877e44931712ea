"""Where the tokens are."""

from __future__ import annotations

from dataclasses import dataclass, field

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class DatabaseGroup:
    """The values of these options of ``[database]``."""

    connection: str | None = field(repr=False)
    max_pool_size: int
    max_overflow: int
    connection_recycle_time: int
    connection_parameters: str


OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "connection",
        secret=True,
        deprecated_opts=[
            cfg.DeprecatedOpt("sql_connection", group="DEFAULT"),
            cfg.DeprecatedOpt("sql_connection", group="DATABASE"),
            cfg.DeprecatedOpt("connection", group="sql"),
        ],
        help="SQLAlchemy URL of the database that holds the console tokens; with OpenStack, of "
        "the cell's database. Unset: an SQLite file of the gateway's own, and a listener on "
        "loopback only.",
    ),
    cfg.IntOpt("max_pool_size", default=5, min=1, help="Connections kept open to the database."),
    cfg.IntOpt(
        "max_overflow",
        default=50,
        min=0,
        deprecated_opts=[
            cfg.DeprecatedOpt("sql_max_overflow", group="DEFAULT"),
            cfg.DeprecatedOpt("sqlalchemy_max_overflow", group="DATABASE"),
        ],
        help="Connections opened above `max_pool_size` when all are busy. Both together bound "
        "the gateway's database threads, of which it starts at most 20.",
    ),
    cfg.IntOpt(
        "connection_recycle_time",
        default=3600,
        min=1,
        help="Seconds after which a kept connection is replaced.",
    ),
    cfg.StrOpt(
        "connection_parameters",
        default="",
        help="More of the query of `connection`, such as `ssl_ca=/etc/ssl/db.pem&charset=utf8`.",
    ),
]

TOPIC = Topic("database", "database", OPTIONS, DatabaseGroup)
