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
    mysql_wsrep_sync_wait: int | None

    @property
    def most_connections(self) -> int | None:
        """How many connections each pool may open; None for any number."""
        if self.max_pool_size <= 0 or self.max_overflow < 0:
            return None
        return self.max_pool_size + self.max_overflow


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
    cfg.IntOpt(
        "max_pool_size",
        default=5,
        help="Connections kept open to the database. 0 or less: any number.",
    ),
    cfg.IntOpt(
        "max_overflow",
        default=50,
        deprecated_opts=[
            cfg.DeprecatedOpt("sql_max_overflow", group="DEFAULT"),
            cfg.DeprecatedOpt("sqlalchemy_max_overflow", group="DATABASE"),
        ],
        help="Connections opened above `max_pool_size` when all are busy; less than 0: any "
        "number. Both together bound the gateway's database threads, of which it starts at most "
        "20.",
    ),
    cfg.IntOpt(
        "connection_recycle_time",
        default=3600,
        help="Seconds after which a kept connection is replaced; less than 0: never.",
    ),
    cfg.StrOpt(
        "connection_parameters",
        default="",
        help="More of the query of `connection`, such as `ssl_ca=/etc/ssl/db.pem&charset=utf8`.",
    ),
    cfg.IntOpt(
        "mysql_wsrep_sync_wait",
        help="For Galera: the variable `wsrep_sync_wait` of every connection, also to other "
        "cells. With 1 a node answers only when it has applied what the others had written "
        "before, so that a token is found on every node as soon as nova has made it. Unset: as "
        "the server has it.",
    ),
]

TOPIC = Topic("database", "database", OPTIONS, DatabaseGroup)
