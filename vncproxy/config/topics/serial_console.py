"""The serial listener."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class SerialConsoleGroup:
    """The values of these options of ``[serial_console]``."""

    enabled: bool
    serialproxy_host: str
    serialproxy_port: int
    base_url: str


OPTIONS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Whether the machines have serial consoles; then `[vncproxy] consoles` has serial "
        "among its defaults.",
    ),
    cfg.StrOpt(
        "serialproxy_host",
        default="0.0.0.0",  # noqa: S104  nova's default
        help="Address to listen on for serial consoles. With the embedded database the default "
        "is 127.0.0.1.",
    ),
    cfg.PortOpt("serialproxy_port", default=6083, help="Port to listen on for serial consoles."),
    cfg.StrOpt(
        "base_url",
        default="ws://127.0.0.1:6083/",
        help="URL of the serial listener, as clients reach it; tokens are added to it: ws:// or "
        "wss:// for programs, http:// or https:// for the terminal page. With the embedded "
        "database the default is that page on 127.0.0.1.",
    ),
]

TOPIC = Topic(
    "serial_console",
    "serial_console",
    OPTIONS,
    SerialConsoleGroup,
    flags=("serialproxy_host", "serialproxy_port"),
)
