"""The values of the options, read once and never changed, and what follows from them.

One dataclass a group, one field an option, of the same name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vncproxy.config.endpoints import ssl_endpoint, tcp_endpoint

_DISTRIBUTION_NOVNC = Path("/usr/share/novnc")
_EMBEDDED_PURGE_INTERVAL_S = 300


@dataclass(frozen=True, slots=True)
class DefaultGroup:
    """``[DEFAULT]``."""

    cert: str
    key: str | None
    ssl_only: bool
    web: str | None
    debug: bool
    log_file: str | None
    use_json: bool


@dataclass(frozen=True, slots=True)
class ConsoleGroup:
    """``[console]``."""

    allowed_origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConsoleauthGroup:
    """``[consoleauth]``."""

    token_ttl: int


@dataclass(frozen=True, slots=True)
class DatabaseGroup:
    """``[database]``."""

    connection: str | None = field(repr=False)
    max_pool_size: int
    max_overflow: int
    connection_recycle_time: int


@dataclass(frozen=True, slots=True)
class VncGroup:
    """``[vnc]``."""

    novncproxy_host: str
    novncproxy_port: int
    novncproxy_base_url: str
    auth_schemes: tuple[str, ...]
    vencrypt_ca_certs: str | None
    vencrypt_client_cert: str | None
    vencrypt_client_key: str | None


@dataclass(frozen=True, slots=True)
class VncproxyGroup:
    """``[vncproxy]``."""

    listen: tuple[str, ...]
    state_path: str | None
    demo: bool
    frame_ancestors: tuple[str, ...]
    target_identity: Literal["off", "warn", "require"]
    targets_file: str | None
    connect_timeout: float
    negotiation_timeout: float
    database_timeout: float
    request_timeout: float
    heartbeat_interval: float
    stop_timeout: float
    max_message_size: int
    token_purge_interval: int | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Every group, and the decisions that span more than one option."""

    default: DefaultGroup
    console: ConsoleGroup
    consoleauth: ConsoleauthGroup
    database: DatabaseGroup
    vnc: VncGroup
    vncproxy: VncproxyGroup

    @property
    def embedded(self) -> bool:
        """Whether the gateway keeps the tokens itself, in its own SQLite file."""
        return not self.database.connection

    @property
    def state_directory(self) -> Path:
        """Where the embedded database lives."""
        chosen = self.vncproxy.state_path or os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        return Path(chosen) if chosen else Path.home() / ".local/state/vncproxy"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the token database; it may hold a password."""
        embedded = f"sqlite:///{self.state_directory.absolute() / 'vncproxy.sqlite'}"
        return self.database.connection or embedded

    @property
    def listeners(self) -> tuple[str, ...]:
        """The endpoint strings to listen on."""
        if self.vncproxy.listen:
            return self.vncproxy.listen
        host, port = self.vnc.novncproxy_host, self.vnc.novncproxy_port
        if self.tls:
            return (ssl_endpoint(host, port, self.default.cert, self.default.key),)
        return (tcp_endpoint(host, port),)

    @property
    def tls(self) -> bool:
        """Whether the listener of ``[vnc] novncproxy_host`` speaks TLS."""
        return Path(self.default.cert).is_file()

    @property
    def web_root(self) -> Path | None:
        """The directory of noVNC, or None where there is none."""
        if self.default.web:
            return Path(self.default.web)
        return _DISTRIBUTION_NOVNC if _DISTRIBUTION_NOVNC.is_dir() else None

    @property
    def purge_interval_s(self) -> int:
        """Seconds between two purges of expired tokens; 0 for never."""
        chosen = self.vncproxy.token_purge_interval
        if chosen is not None:
            return chosen
        return _EMBEDDED_PURGE_INTERVAL_S if self.embedded else 0
