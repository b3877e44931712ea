"""The values of all options, read once and never changed, and what follows from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vncproxy.config.endpoints import ssl_endpoint, tcp_endpoint
from vncproxy.config.topics.console import ConsoleGroup
from vncproxy.config.topics.consoleauth import ConsoleauthGroup
from vncproxy.config.topics.database import DatabaseGroup
from vncproxy.config.topics.default import DefaultGroup
from vncproxy.config.topics.embedded import Embedded
from vncproxy.config.topics.limits import LimitsGroup
from vncproxy.config.topics.listening import Listening
from vncproxy.config.topics.processes import Processes
from vncproxy.config.topics.sessions import Sessions
from vncproxy.config.topics.targets import Targets
from vncproxy.config.topics.times import Times
from vncproxy.config.topics.vnc import VncGroup
from vncproxy.config.topics.watching import Watching

_DISTRIBUTION_NOVNC = Path("/usr/share/novnc")
_EMBEDDED_PURGE_INTERVAL_S = 300


@dataclass(frozen=True, slots=True)
class Settings:
    """Every topic, and the decisions that span more than one option."""

    default: DefaultGroup
    console: ConsoleGroup
    consoleauth: ConsoleauthGroup
    database: DatabaseGroup
    vnc: VncGroup
    listening: Listening
    processes: Processes
    embedded: Embedded
    sessions: Sessions
    targets: Targets
    limits: LimitsGroup
    times: Times
    watching: Watching

    @property
    def keeps_tokens(self) -> bool:
        """Whether the gateway keeps the tokens itself, in its own SQLite file."""
        return not self.database.connection

    @property
    def state_directory(self) -> Path:
        """Where the embedded database lives."""
        chosen = self.embedded.state_path or os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        return Path(chosen) if chosen else Path.home() / ".local/state/vncproxy"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the token database; it may hold a password."""
        embedded = f"sqlite:///{self.state_directory.absolute() / 'vncproxy.sqlite'}"
        return self.database.connection or embedded

    @property
    def listeners(self) -> tuple[str, ...]:
        """The endpoint strings to listen on."""
        if self.listening.listen:
            return self.listening.listen
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
        chosen = self.embedded.token_purge_interval
        if chosen is not None:
            return chosen
        return _EMBEDDED_PURGE_INTERVAL_S if self.keeps_tokens else 0
