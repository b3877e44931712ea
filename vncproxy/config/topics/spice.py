"""The SPICE listener."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class SpiceGroup:
    """The values of these options of ``[spice]``."""

    enabled: bool
    html5proxy_host: str
    html5proxy_port: int
    html5proxy_base_url: str


OPTIONS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Whether the machines have SPICE consoles; then `[vncproxy] consoles` has "
        "spice-html5 among its defaults.",
    ),
    cfg.StrOpt(
        "html5proxy_host",
        default="0.0.0.0",  # noqa: S104  nova's default
        help="Address to listen on for SPICE consoles. With the embedded database the default "
        "is 127.0.0.1.",
    ),
    cfg.PortOpt("html5proxy_port", default=6082, help="Port to listen on for SPICE consoles."),
    cfg.StrOpt(
        "html5proxy_base_url",
        default="http://127.0.0.1:6082/spice_auto.html",
        help="URL of spice-html5's page, as browsers reach it; tokens are added to it.",
    ),
]

TOPIC = Topic("spice", "spice", OPTIONS, SpiceGroup, flags=("html5proxy_host", "html5proxy_port"))
