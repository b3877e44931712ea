"""The values of all options, read once and never changed, and what follows from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vncproxy.config.endpoints import ssl_endpoint, tcp_endpoint
from vncproxy.config.front import Front
from vncproxy.config.topics.compute import Compute
from vncproxy.config.topics.console import ConsoleGroup
from vncproxy.config.topics.consoleauth import ConsoleauthGroup
from vncproxy.config.topics.database import DatabaseGroup
from vncproxy.config.topics.default import DefaultGroup
from vncproxy.config.topics.embedded import Embedded
from vncproxy.config.topics.fronts import Fronts
from vncproxy.config.topics.limits import LimitsGroup
from vncproxy.config.topics.listening import Listening
from vncproxy.config.topics.processes import Processes
from vncproxy.config.topics.serial_console import SerialConsoleGroup
from vncproxy.config.topics.sessions import Sessions
from vncproxy.config.topics.spice import SpiceGroup
from vncproxy.config.topics.targets import Targets
from vncproxy.config.topics.times import Times
from vncproxy.config.topics.vnc import VncGroup
from vncproxy.config.topics.watching import Watching
from vncproxy.kinds import NOVNC, SERIAL, SPICE, Kind

_EMBEDDED_PURGE_INTERVAL_S = 300


@dataclass(frozen=True, slots=True)
class Settings:
    """Every topic, and the decisions that span more than one option."""

    default: DefaultGroup
    console: ConsoleGroup
    consoleauth: ConsoleauthGroup
    database: DatabaseGroup
    vnc: VncGroup
    serial_console: SerialConsoleGroup
    spice: SpiceGroup
    fronts: Fronts
    listening: Listening
    processes: Processes
    embedded: Embedded
    sessions: Sessions
    targets: Targets
    limits: LimitsGroup
    times: Times
    watching: Watching
    compute: Compute

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
    def served(self) -> tuple[Front, ...]:
        """The fronts to open, one for each kind of console that is served."""
        wanted = self.fronts.consoles or self._enabled_consoles or (NOVNC.console_type,)
        vnc, serial, spice, fronts = self.vnc, self.serial_console, self.spice, self.fronts
        every = (
            self._front(
                NOVNC,
                *(vnc.novncproxy_host, vnc.novncproxy_port, self.listening.listen),
                *("[vnc] novncproxy_port", "[vncproxy] listen"),
            ),
            self._front(
                SERIAL,
                *(serial.serialproxy_host, serial.serialproxy_port, fronts.listen_serial),
                *("[serial_console] serialproxy_port", "[vncproxy] listen_serial"),
            ),
            self._front(
                SPICE,
                *(spice.html5proxy_host, spice.html5proxy_port, fronts.listen_spice),
                *("[spice] html5proxy_port", "[vncproxy] listen_spice"),
            ),
        )
        return tuple(front for front in every if front.kind.console_type in wanted)

    @property
    def _enabled_consoles(self) -> tuple[str, ...]:
        enabled = (
            (NOVNC, self.vnc.enabled),
            (SERIAL, self.serial_console.enabled),
            (SPICE, self.spice.enabled),
        )
        return tuple(kind.console_type for kind, on in enabled if on)

    def _front(
        self,
        kind: Kind,
        host: str,
        port: int,
        listen: tuple[str, ...],
        address_option: str,
        listen_option: str,
    ) -> Front:
        listeners = listen or (self._endpoint(host, port),)
        return Front(kind, listeners, address_option, listen_option, is_novas=not listen)

    @property
    def listeners(self) -> tuple[str, ...]:
        """The endpoint strings of all fronts."""
        return tuple(endpoint for front in self.served for endpoint in front.listeners)

    def _endpoint(self, host: str, port: int) -> str:
        if self.tls:
            return ssl_endpoint(host, port, self.default.cert, self.default.key)
        return tcp_endpoint(host, port)

    @property
    def tls(self) -> bool:
        """Whether the listeners at nova's addresses speak TLS."""
        return Path(self.default.cert).is_file()

    @property
    def base_urls(self) -> dict[str, str]:
        """What tokens are issued with, by the type of the console."""
        return {
            NOVNC.console_type: self.vnc.novncproxy_base_url,
            SERIAL.console_type: self.serial_console.base_url,
            SPICE.console_type: self.spice.html5proxy_base_url,
        }

    @property
    def purge_interval_s(self) -> int:
        """Seconds between two purges of expired tokens; 0 for never."""
        chosen = self.embedded.token_purge_interval
        if chosen is not None:
            return chosen
        return _EMBEDDED_PURGE_INTERVAL_S if self.keeps_tokens else 0
