"""How the gateway stops."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class Stopping:
    """The values of these options of ``[vncproxy]``."""

    drain_notice: float
    drain_timeout: float
    stop_timeout: float


OPTIONS: list[cfg.Opt] = [
    cfg.FloatOpt(
        "drain_notice",
        default=0.0,
        min=0,
        help="Seconds after SIGTERM for which `/readyz` already fails and connections are still "
        "taken, for balancers that look at it now and then.",
    ),
    cfg.FloatOpt(
        "drain_timeout",
        default=0.0,
        min=0,
        help="Seconds for which consoles go on after SIGTERM, when no new ones are taken any "
        "more. The supervisor must wait longer before it kills: systemd is told, "
        "Docker waits for 10 s. SIGINT, and a second SIGTERM, end them at once.",
    ),
    cfg.FloatOpt(
        "stop_timeout",
        default=3.0,
        min=0,
        help="Seconds that browsers get to answer the close of their consoles when the gateway "
        "stops.",
    ),
]

TOPIC = Topic("stopping", "vncproxy", OPTIONS, Stopping)
