"""What is known of the consoles' servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class Targets:
    """The values of these options of ``[vncproxy]``."""

    target_identity: Literal["off", "warn", "require"]
    targets_file: str | None


OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "target_identity",
        choices=["off", "warn", "require"],
        default="warn",
        help="Whether a VNC server's certificate must be for the host that was dialled (its name "
        "or address among the subjectAltNames): off, as in nova; warn in the log; or require.",
    ),
    cfg.StrOpt(
        "targets_file",
        help="File of what certain VNC servers need: passwords, user names, TLS from the first "
        "byte. See docs/security.md. Read again when it changes.",
    ),
]

TOPIC = Topic("targets", "vncproxy", OPTIONS, Targets)
