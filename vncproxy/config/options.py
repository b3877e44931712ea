"""Every option, defined once: group, name, type, default and help.

Groups and names are nova's where nova has the option, so that one nova.conf serves both; our own
options stand in ``[vncproxy]``. ``conf/vncproxy.conf`` and ``docs/configuration.md`` are generated
from here (``make conf``).
"""

from __future__ import annotations

from oslo_config import cfg, types

AUTH_SCHEMES = (
    *("none", "vnc", "vencrypt"),
    *("x509none", "x509vnc", "x509plain"),
    *("tlsnone", "tlsvnc", "tlsplain"),
)

DEFAULT_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "cert",
        default="self.pem",
        help="PEM file of the certificate (and its key, where `key` is unset). When this file "
        "exists, the listener of `[vnc] novncproxy_host` speaks TLS.",
    ),
    cfg.StrOpt("key", help="PEM file of the certificate's private key, when it is apart."),
    cfg.BoolOpt(
        "ssl_only",
        default=False,
        help="Refuse to start without TLS, that is, when the file named by `cert` does not exist.",
    ),
    cfg.StrOpt(
        "web",
        help="noVNC's directory, served at `/`. Unset: /usr/share/novnc where that exists. "
        "Its core modules also draw the gateway's own console page.",
    ),
    cfg.BoolOpt("debug", default=False, help="Log each step of each session."),
    cfg.StrOpt(
        "log-file",
        deprecated_name="logfile",
        help="File to log to. Unset: where twistd logs (standard output with `twistd -n`).",
    ),
    cfg.BoolOpt("use-json", default=False, help="Log one JSON object a line."),
]

CONSOLE_OPTIONS: list[cfg.Opt] = [
    cfg.ListOpt(
        "allowed_origins",
        default=[],
        deprecated_name="console_allowed_origins",
        deprecated_group="DEFAULT",
        help="Host names, besides the gateway's own, whose pages may open consoles "
        "(the host part of the Origin header, without scheme or port).",
    ),
]

CONSOLEAUTH_OPTIONS: list[cfg.Opt] = [
    cfg.IntOpt(
        "token_ttl",
        default=600,
        min=0,
        deprecated_name="console_token_ttl",
        deprecated_group="DEFAULT",
        help="Seconds that a token issued by `vncproxy token create` lives.",
    ),
]

DATABASE_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "connection",
        secret=True,
        deprecated_opts=[
            cfg.DeprecatedOpt("sql_connection", group="DEFAULT"),
            cfg.DeprecatedOpt("sql_connection", group="DATABASE"),
            cfg.DeprecatedOpt("connection", group="sql"),
        ],
        help="SQLAlchemy URL of the database that holds the console tokens; with OpenStack, of "
        "the cell's database. Unset: an SQLite file of the gateway's own, and a listener on "
        "loopback only.",
    ),
    cfg.IntOpt("max_pool_size", default=5, min=1, help="Connections kept open to the database."),
    cfg.IntOpt(
        "max_overflow",
        default=50,
        min=0,
        help="Connections opened above `max_pool_size` when all are busy. Both together bound "
        "the gateway's database threads, of which it starts at most 20.",
    ),
    cfg.IntOpt(
        "connection_recycle_time",
        default=3600,
        min=1,
        help="Seconds after which a kept connection is replaced.",
    ),
]

VNC_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "novncproxy_host",
        default="0.0.0.0",  # noqa: S104  nova's default
        deprecated_group="DEFAULT",
        help="Address to listen on. With the embedded database the default is 127.0.0.1.",
    ),
    cfg.PortOpt(
        "novncproxy_port", default=6080, deprecated_group="DEFAULT", help="Port to listen on."
    ),
    cfg.StrOpt(
        "novncproxy_base_url",
        default="http://127.0.0.1:6080/vnc_auto.html",
        deprecated_group="DEFAULT",
        help="URL of the console page, as browsers reach it; tokens are added to it. With the "
        "embedded database the default is the gateway's own page on 127.0.0.1, /console.",
    ),
    cfg.ListOpt(
        "auth_schemes",
        item_type=types.String(choices=list(AUTH_SCHEMES)),
        default=["none"],
        help="RFB security accepted from VNC servers, the most wanted first: none, vnc (a "
        "password), vencrypt (TLS with certificates: x509none, x509vnc, x509plain, which can be "
        "named singly), and, only where they are named, tlsnone, tlsvnc, tlsplain, whose "
        "anonymous TLS can be intercepted.",
    ),
    cfg.StrOpt(
        "vencrypt_ca_certs",
        help="PEM file of the CAs that VNC servers' certificates must come from.",
    ),
    cfg.StrOpt(
        "vencrypt_client_cert",
        help="PEM file of the certificate shown to VNC servers that ask for one.",
    ),
    cfg.StrOpt("vencrypt_client_key", help="PEM file of that certificate's private key."),
]

VNCPROXY_OPTIONS: list[cfg.Opt] = [
    cfg.MultiStrOpt(
        "listen",
        default=[],
        help="Twisted endpoint string of a listener; may be given several times. It takes the "
        "place of `[vnc] novncproxy_host` and `novncproxy_port`. Examples: "
        "`tcp:6080:interface=127.0.0.1`, `ssl:6080:privateKey=key.pem:certKey=cert.pem`, "
        "`unix:/run/vncproxy.sock`, `systemd:domain=INET:index=0`, `haproxy:tcp:6080`.",
    ),
    cfg.StrOpt(
        "state_path",
        help="Directory of the embedded database. Unset: systemd's STATE_DIRECTORY, else "
        "~/.local/state/vncproxy.",
    ),
    cfg.BoolOpt(
        "demo",
        default=False,
        help="Start the demo console, and print a URL that opens it.",
    ),
    cfg.ListOpt(
        "frame_ancestors",
        default=["'self'"],
        help="Sites that may show the console page in a frame (sources of the CSP directive "
        "frame-ancestors), for dashboards: `'self', https://dashboard.example.com`.",
    ),
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
    cfg.FloatOpt(
        "connect_timeout",
        default=10.0,
        min=0.1,
        help="Seconds to wait for the connection to a console's server.",
    ),
    cfg.FloatOpt(
        "negotiation_timeout",
        default=15.0,
        min=0.1,
        help="Seconds for the RFB negotiation, from the WebSocket's opening to its last byte, "
        "the connection to the server included.",
    ),
    cfg.FloatOpt(
        "database_timeout",
        default=5.0,
        min=0.1,
        help="Seconds that a look-up of a token may take.",
    ),
    cfg.FloatOpt(
        "request_timeout",
        default=30.0,
        min=0.1,
        help="Seconds that a browser may take to send a request, or to send the next one.",
    ),
    cfg.FloatOpt(
        "heartbeat_interval",
        default=25.0,
        min=0,
        help="Seconds between two pings to a browser, so that nothing in between takes an idle "
        "console for a dead one; a browser that is silent for two of them is given up. 0: none.",
    ),
    cfg.FloatOpt(
        "stop_timeout",
        default=3.0,
        min=0,
        help="Seconds that browsers get to answer the close of their consoles when the gateway "
        "stops.",
    ),
    cfg.IntOpt(
        "max_message_size",
        default=1024 * 1024,
        min=1024,
        help="Bytes of the largest WebSocket message taken from a client; larger ones end the "
        "session.",
    ),
    cfg.IntOpt(
        "token_purge_interval",
        min=0,
        help="Seconds between two removals of expired tokens; 0 for never. Unset: 300 with the "
        "embedded database, and never with another, where nova purges.",
    ),
]

OPTIONS: dict[str, list[cfg.Opt]] = {
    "DEFAULT": DEFAULT_OPTIONS,
    "console": CONSOLE_OPTIONS,
    "consoleauth": CONSOLEAUTH_OPTIONS,
    "database": DATABASE_OPTIONS,
    "vnc": VNC_OPTIONS,
    "vncproxy": VNCPROXY_OPTIONS,
}

# Options that are flags of twistd's command too, under the names that nova's commands have.
FLAGS: dict[str, tuple[str, ...]] = {
    "DEFAULT": ("cert", "key", "ssl_only", "web", "debug", "log_file", "use_json"),
    "vnc": (
        *("novncproxy_host", "novncproxy_port", "auth_schemes"),
        *("vencrypt_ca_certs", "vencrypt_client_cert", "vencrypt_client_key"),
    ),
    "vncproxy": ("listen", "state_path", "demo"),
}


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options by group: what oslo.config's sample generator asks for."""
    return list(OPTIONS.items())
