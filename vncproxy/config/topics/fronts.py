"""Which kinds of console are served, where, and with whose pages."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg, types

from vncproxy.config.topic import Topic
from vncproxy.kinds import KINDS


@dataclass(frozen=True, slots=True)
class Fronts:
    """The values of these options of ``[vncproxy]``."""

    consoles: tuple[str, ...]
    listen_serial: tuple[str, ...]
    listen_spice: tuple[str, ...]
    xterm: str | None
    spice_web: str | None


OPTIONS: list[cfg.Opt] = [
    cfg.ListOpt(
        "consoles",
        item_type=types.String(choices=list(KINDS)),
        default=[],
        help="Kinds of console to serve, each with a listener of its own: novnc, serial, "
        "spice-html5. Unset: those whose `enabled` is true in `[vnc]`, `[serial_console]` and "
        "`[spice]`, and novnc where none is.",
    ),
    cfg.MultiStrOpt(
        "listen_serial",
        default=[],
        help="As `listen`, for serial consoles, in the place of `[serial_console] "
        "serialproxy_host` and `serialproxy_port`.",
    ),
    cfg.MultiStrOpt(
        "listen_spice",
        default=[],
        help="As `listen`, for SPICE consoles, in the place of `[spice] html5proxy_host` and "
        "`html5proxy_port`.",
    ),
    cfg.StrOpt(
        "xterm",
        help="Directory of xterm.js (`npm install @xterm/xterm`), which draws the terminal page "
        "at `/` of the serial listener. Programs that open the WebSocket need none.",
    ),
    cfg.StrOpt(
        "spice_web",
        help="Directory of spice-html5, served at `/` of the SPICE listener. Unset: `[DEFAULT] "
        "web` where novnc is not among the consoles, else /usr/share/spice-html5 where that "
        "exists.",
    ),
]

TOPIC = Topic(
    "fronts",
    "vncproxy",
    OPTIONS,
    Fronts,
    flags=("consoles", "listen_serial", "listen_spice", "xterm", "spice_web"),
)
