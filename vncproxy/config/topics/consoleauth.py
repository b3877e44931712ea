"""How long tokens live."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class ConsoleauthGroup:
    """The values of these options of ``[consoleauth]``."""

    token_ttl: int
    enforce_session_timeout: bool


OPTIONS: list[cfg.Opt] = [
    cfg.IntOpt(
        "token_ttl",
        default=600,
        min=0,
        deprecated_name="console_token_ttl",
        deprecated_group="DEFAULT",
        help="Seconds that a token issued by `vncproxy token create` lives.",
    ),
    cfg.BoolOpt(
        "enforce_session_timeout",
        default=False,
        help="End a running console when the token that opened it expires.",
    ),
]

TOPIC = Topic("consoleauth", "consoleauth", OPTIONS, ConsoleauthGroup)
