"""The gateway's own database and demo, and how any token database is treated."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class Embedded:
    """The values of these options of ``[vncproxy]``."""

    state_path: str | None
    demo: bool
    database_timeout: float
    token_purge_interval: int | None


OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "state_path",
        help="Directory of the embedded database, which is made with mode 0700 where it is "
        "missing. Unset: systemd's STATE_DIRECTORY, else ~/.local/state/vncproxy.",
    ),
    cfg.BoolOpt(
        "demo",
        default=False,
        help="Start the demo console, and print a URL that opens it.",
    ),
    cfg.FloatOpt(
        "database_timeout",
        default=5.0,
        min=0.1,
        help="Seconds that a look-up of a token may take.",
    ),
    cfg.IntOpt(
        "token_purge_interval",
        min=0,
        help="Seconds between two removals of expired tokens; 0 for never. Unset: 300 with the "
        "embedded database, and never with another, where nova purges.",
    ),
]

TOPIC = Topic("embedded", "vncproxy", OPTIONS, Embedded, flags=("state_path", "demo"))
