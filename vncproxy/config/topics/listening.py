"""Where the gateway listens, and what pages may do."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class Listening:
    """The values of these options of ``[vncproxy]``."""

    listen: tuple[str, ...]
    request_timeout: float
    frame_ancestors: tuple[str, ...]


OPTIONS: list[cfg.Opt] = [
    cfg.MultiStrOpt(
        "listen",
        default=[],
        help="Twisted endpoint string of a noVNC listener; may be given several times. It takes "
        "the place of `[vnc] novncproxy_host` and `novncproxy_port`. The word `https:` before it "
        "adds TLS by the gateway's certificates (plain HTTP is served there too, unless "
        "`ssl_only`, or `tls_client_certificates = required`), `haproxy:` before that the PROXY "
        "protocol. Examples: "
        "`https:tcp6:443:interface=\\:\\:`, `tcp:6080:interface=127.0.0.1`, "
        "`unix:/run/vncproxy/http.sock:mode=660`, `https:systemd:domain=INET6:index=0`, "
        "`haproxy:https:tcp:443`. A UNIX socket without a mode gets 660: its owner and its group "
        "may connect.",
    ),
    cfg.FloatOpt(
        "request_timeout",
        default=30.0,
        min=0.1,
        help="Seconds that a client may take to send a request, or the next one, or to take some "
        "of an answer; of the consoles, the API and the metrics.",
    ),
    cfg.ListOpt(
        "frame_ancestors",
        default=["'self'"],
        help="Sites that may show the console page in a frame (sources of the CSP directive "
        "frame-ancestors), for dashboards: `'self', https://dashboard.example.com`.",
    ),
]

TOPIC = Topic("listening", "vncproxy", OPTIONS, Listening, flags=("listen",))
