"""Whose pages may open consoles, and by which TLS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class ConsoleGroup:
    """The values of these options of ``[console]``."""

    allowed_origins: tuple[str, ...]
    ssl_ciphers: str | None
    ssl_minimum_version: Literal["default", "tlsv1_1", "tlsv1_2", "tlsv1_3"]


OPTIONS: list[cfg.Opt] = [
    cfg.ListOpt(
        "allowed_origins",
        default=[],
        deprecated_name="console_allowed_origins",
        deprecated_group="DEFAULT",
        help="Host names, besides the gateway's own, whose pages may open consoles "
        "(the host part of the Origin header, without scheme or port).",
    ),
    cfg.StrOpt(
        "ssl_ciphers",
        help="OpenSSL's list of ciphers for TLS 1.2 with browsers. Unset: those with forward "
        "secrecy and authenticated encryption.",
    ),
    cfg.StrOpt(
        "ssl_minimum_version",
        default="default",
        choices=["default", "tlsv1_1", "tlsv1_2", "tlsv1_3"],
        help="Lowest version of TLS with browsers. It is 1.2 at least, also by `default` and "
        "`tlsv1_1`.",
    ),
]

TOPIC = Topic("console", "console", OPTIONS, ConsoleGroup)
