"""Who knows which server has which console."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class Compute:
    """The values of these options of ``[vncproxy]``."""

    compute_driver: Literal["inventory"] | None
    compute_timeout: float
    inventory_file: str | None


OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "compute_driver",
        choices=["inventory"],
        help="Who knows the servers and their consoles: inventory, a file. See docs/compute.md. "
        "Unset: nobody, and tokens are made for a host and a port.",
    ),
    cfg.FloatOpt(
        "compute_timeout",
        default=5.0,
        min=0.1,
        help="Seconds that a look-up of servers or of a console may take.",
    ),
    cfg.StrOpt(
        "inventory_file",
        help="YAML file of the servers and their consoles, for `compute_driver = inventory`. "
        "Read again when it changes.",
    ),
]

TOPIC = Topic("compute", "vncproxy", OPTIONS, Compute)
