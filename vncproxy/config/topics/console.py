"""Whose pages may open consoles."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class ConsoleGroup:
    """The values of these options of ``[console]``."""

    allowed_origins: tuple[str, ...]


OPTIONS: list[cfg.Opt] = [
    cfg.ListOpt(
        "allowed_origins",
        default=[],
        deprecated_name="console_allowed_origins",
        deprecated_group="DEFAULT",
        help="Host names, besides the gateway's own, whose pages may open consoles "
        "(the host part of the Origin header, without scheme or port).",
    ),
]

TOPIC = Topic("console", "console", OPTIONS, ConsoleGroup)
