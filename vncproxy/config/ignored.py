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
    "synchronous_reader": "slave_connection is not followed either",
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
_LIKE_DATABASE = "the counts and times of [database] are every pool's"
_OF_API_DATABASE = dict.fromkeys(
    ("connection_recycle_time", "max_pool_size", "max_overflow"), _LIKE_DATABASE
)
_OF_UPGRADE_LEVELS = dict.fromkeys(
    ("baseapi", "cert", "conductor", "scheduler"), "only nova-compute is asked"
)
_NO_CACHE = "Keystone is asked about every token, and no answer is kept"
_LOG_IN_BY_NAME = "the gateway's user is told by name and domain, or by application_credential_id"
_OF_KEYSTONE: dict[str, str] = {
    **dict.fromkeys(
        (
            *("cache", "memcached_servers", "memcache_servers", "token_cache_time"),
            *("memcache_security_strategy", "memcache_secret_key", "memcache_tls_enabled"),
            *("memcache_tls_cafile", "memcache_tls_certfile", "memcache_tls_keyfile"),
            *("memcache_tls_allowed_ciphers", "memcache_pool_dead_retry", "memcache_pool_maxsize"),
            *("memcache_pool_socket_timeout", "memcache_pool_unused_timeout"),
            *("memcache_pool_conn_get_timeout", "memcache_use_advanced_pool"),
            *("memcache_sasl_enabled", "memcache_username", "memcache_password"),
        ),
        _NO_CACHE,
    ),
    **dict.fromkeys(
        (
            *("user_id", "project_id", "tenant_id", "domain_id", "domain_name", "trust_id"),
            *("default_domain_id", "default_domain_name", "system_scope"),
            "application_credential_name",
        ),
        _LOG_IN_BY_NAME,
    ),
    **dict.fromkeys(
        (
            *("auth_host", "auth_port", "auth_protocol", "auth_admin_prefix", "identity_uri"),
            *("admin_token", "admin_user", "admin_password", "admin_tenant_name"),
        ),
        "nova's own reader of it forgot it long ago; set auth_url and username",
    ),
    **dict.fromkeys(
        ("interface", "region_name", "service_type"), "Keystone is asked at auth_url, nowhere else"
    ),
    **dict.fromkeys(
        ("service_token_roles", "service_token_roles_required"), "service tokens are not looked at"
    ),
    **dict.fromkeys(("certfile", "keyfile"), "Keystone is shown no certificate of ours"),
    "auth_section": "write the login into [keystone_authtoken] itself",
    "auth_version": "Keystone is asked by its version 3",
    "delay_auth_decision": "whoever has no token is told so at once",
    "enforce_token_bind": "tokens bound to a ticket are no more",
    "http_request_max_retries": "whoever asks may ask again",
    "include_service_catalog": "the catalog is not read",
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
    **{("api_database", name): why for name, why in _OF_API_DATABASE.items()},
    **{("upgrade_levels", name): why for name, why in _OF_UPGRADE_LEVELS.items()},
    **{("keystone_authtoken", name): why for name, why in _OF_KEYSTONE.items()},
    **{("DEFAULT", name): why for name, why in _OF_DEFAULT.items()},
    **{("DEFAULT", option.dest): why for option, why in FLAGS},
}
