"""What nova's console commands have without a group: TLS, pages, log."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class DefaultGroup:
    """The values of these options of ``[DEFAULT]``."""

    cert: str
    key: str | None
    ssl_only: bool
    web: str | None
    debug: bool
    log_file: str | None
    log_dir: str | None
    use_json: bool


OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "cert",
        default="self.pem",
        help="PEM file of the certificate (and its key, where `key` is unset). When this file "
        "exists, the listeners of `[vnc] novncproxy_host`, `[serial_console] serialproxy_host` and "
        "`[spice] html5proxy_host` speak TLS, and plain HTTP with those who don't begin it. The "
        "file is read again when it changes.",
    ),
    cfg.StrOpt("key", help="PEM file of the certificate's private key, when it is apart."),
    cfg.BoolOpt(
        "ssl_only",
        default=False,
        help="Refuse plain HTTP, and refuse to start without a certificate, or with a listener of "
        "consoles that other machines reach without TLS.",
    ),
    cfg.StrOpt(
        "web",
        help="noVNC's directory, served at `/`. Unset: /usr/share/novnc where that exists. "
        "Its core modules also draw the gateway's own console page. What begins with a dot is not "
        "served, nor what a symbolic link to outside of the directory names.",
    ),
    cfg.BoolOpt("debug", short="d", default=False, help="Log each step of each session."),
    cfg.StrOpt(
        "log-file",
        deprecated_name="logfile",
        help="File to log to. Unset: where twistd logs (standard output with `twistd -n`).",
    ),
    cfg.StrOpt(
        "log-dir",
        deprecated_name="logdir",
        help="Directory of `log_file`; without one, of vncproxy.log.",
    ),
    cfg.BoolOpt("use-json", default=False, help="Log one JSON object a line."),
]

TOPIC = Topic(
    "default",
    "DEFAULT",
    OPTIONS,
    DefaultGroup,
    flags=("cert", "key", "ssl_only", "web", "debug", "log_file", "log_dir", "use_json"),
)
