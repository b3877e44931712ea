"""Options of nova's that are taken and not followed, each with the reason.

Those of ``FLAGS`` are also flags of nova's commands, so that a unit file needs no other change
than the program's name.
"""

from __future__ import annotations

from oslo_config import cfg

_JOURNAL = "what is printed goes to the journal, or to [DEFAULT] log_file"
_POOL = "every look-up is bounded by [vncproxy] database_timeout, and tried anew by whoever asks"

# Options of [DEFAULT], and why each is not followed.
FLAGS: list[tuple[cfg.Opt, str]] = [
    (cfg.StrOpt("record"), "sessions are not recorded"),
    (cfg.BoolOpt("daemon", default=False), "twistd becomes a daemon, unless it is told -n"),
    (
        cfg.BoolOpt("source_is_ipv6", default=False),
        "it chooses between a host name's addresses; name the address in [vnc] novncproxy_host",
    ),
    (
        cfg.StrOpt("log-config-append", deprecated_name="log-config", deprecated_group="DEFAULT"),
        "it configures Python's logging, which is not used here",
    ),
    (cfg.StrOpt("log-date-format"), "times are ISO 8601"),
    (cfg.BoolOpt("use-syslog", default=False), _JOURNAL),
    (cfg.BoolOpt("use-journal", default=False), _JOURNAL),
    (cfg.StrOpt("syslog-log-facility"), _JOURNAL),
    (cfg.BoolOpt("watch-log-file", default=False), "move the file and send SIGHUP instead"),
]

# Of no effect here, but values of other options may name them: `cert = $state_path/cert.pem`.
HOST_FACTS: list[cfg.Opt] = [
    cfg.StrOpt("my_ip"),  # unset: config.read finds it, as nova does
    cfg.StrOpt("host"),  # the same
    cfg.StrOpt("pybasedir", default="/"),
    cfg.StrOpt("state_path", default="$pybasedir"),
]

_OF_COMPUTE = "nova-compute's: what it says arrives with each token"
_OF_COMPUTES: dict[str, tuple[str, ...]] = {
    "vnc": ("enabled", "server_listen", "server_proxyclient_address"),
    "serial_console": ("enabled", "base_url", "proxyclient_address", "port_range"),
    "spice": (
        *("enabled", "html5proxy_base_url", "spice_direct_proxy_base_url", "require_secure"),
        *("server_listen", "server_proxyclient_address", "agent_enabled", "streaming_mode"),
        *("image_compression", "jpeg_compression", "zlib_compression", "playback_compression"),
    ),
    "mks": ("enabled", "mksproxy_base_url"),
    "DEFAULT": ("vnc_enabled",),
}
_OF_DATABASES = {
    "slave_connection": "tokens are read where they are written, lest a new one is not there yet",
    "asyncio_connection": "database threads are used",
    "asyncio_slave_connection": "database threads are used",
    "mysql_sql_mode": "nothing is written",
    "mysql_enable_ndb": "nothing is written",
    "sqlite_synchronous": "nothing is written",
    "connection_debug": "statements are not logged",
    "connection_trace": "statements are not logged",
    "backend": "there is one",
    **dict.fromkeys(
        (
            *("pool_timeout", "max_retries", "retry_interval", "use_db_reconnect"),
            *("db_max_retries", "db_retry_interval", "db_inc_retry_interval"),
            "db_max_retry_interval",
        ),
        _POOL,
    ),
}
_OF_DEFAULT = {
    **dict.fromkeys(("my_ip", "host", "pybasedir", "state_path"), "only for values that name it"),
    "concurrency_backend": "there is one reactor, and no eventlet",
    "long_rpc_timeout": "the port check has rpc_response_timeout",
    "use_stderr": _JOURNAL,
    "default_log_levels": "[DEFAULT] debug is the one level",
}

REASONS: dict[tuple[str, str], str] = {
    **{(group, name): _OF_COMPUTE for group, names in _OF_COMPUTES.items() for name in names},
    **{
        (group, name): why
        for group in ("database", "api_database")
        for name, why in _OF_DATABASES.items()
    },
    **{("DEFAULT", name): why for name, why in _OF_DEFAULT.items()},
    **{("DEFAULT", option.dest): why for option, why in FLAGS},
}
