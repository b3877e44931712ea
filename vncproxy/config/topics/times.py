"""When a session that nobody ends is ended."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class Times:
    """The values of these options of ``[vncproxy]``; seconds, 0 for never."""

    client_idle_timeout: int
    server_idle_timeout: int
    max_session_time: int
    end_warning: int


OPTIONS: list[cfg.Opt] = [
    cfg.IntOpt(
        "client_idle_timeout",
        default=0,
        min=0,
        help="Seconds without input after which a session ends; 0: never. What noVNC sends by "
        "itself to get the next picture does not count as input.",
    ),
    cfg.IntOpt(
        "server_idle_timeout",
        default=0,
        min=0,
        help="Seconds without anything from the machine's console after which a session ends; "
        "0: never. A screen on which nothing changes sends nothing.",
    ),
    cfg.IntOpt(
        "max_session_time",
        default=0,
        min=0,
        help="Seconds that a session may last; 0: any time.",
    ),
    cfg.IntOpt(
        "end_warning",
        default=60,
        min=0,
        help="Seconds before one of these ends in which the gateway's own page warns of it.",
    ),
]

TOPIC = Topic("times", "vncproxy", OPTIONS, Times)
