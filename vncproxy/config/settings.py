"""The values of all options, read once and never changed, and what follows from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vncproxy.config.endpoints import listen_string
from vncproxy.config.front import Front
from vncproxy.config.topics.api import Api
from vncproxy.config.topics.api_database import ApiDatabase
from vncproxy.config.topics.balancers import Balancers
from vncproxy.config.topics.compute import Compute
from vncproxy.config.topics.console import ConsoleGroup
from vncproxy.config.topics.consoleauth import ConsoleauthGroup
from vncproxy.config.topics.database import DatabaseGroup
from vncproxy.config.topics.default import DefaultGroup
from vncproxy.config.topics.embedded import Embedded
from vncproxy.config.topics.fronts import Fronts
from vncproxy.config.topics.keystone import KeystoneAuthtoken
from vncproxy.config.topics.limits import LimitsGroup
from vncproxy.config.topics.listening import Listening
from vncproxy.config.topics.messaging import Messaging, UpgradeLevels
from vncproxy.config.topics.openstack import OpenStack
from vncproxy.config.topics.processes import Processes
from vncproxy.config.topics.serial_console import SerialConsoleGroup
from vncproxy.config.topics.sessions import Sessions
from vncproxy.config.topics.spice import SpiceGroup
from vncproxy.config.topics.stopping import Stopping
from vncproxy.config.topics.targets import Targets
from vncproxy.config.topics.times import Times
from vncproxy.config.topics.tls import Tls
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
    api_database: ApiDatabase
    messaging: Messaging
    upgrade_levels: UpgradeLevels
    vnc: VncGroup
    serial_console: SerialConsoleGroup
    spice: SpiceGroup
    fronts: Fronts
    listening: Listening
    processes: Processes
    embedded: Embedded
    tls_options: Tls
    balancers: Balancers
    sessions: Sessions
    stopping: Stopping
    targets: Targets
    limits: LimitsGroup
    times: Times
    watching: Watching
    compute: Compute
    api: Api
    keystone_authtoken: KeystoneAuthtoken
    openstack: OpenStack
    sources: tuple[str, ...]  # the --config-file and --config-dir arguments they were read from
    ignored: tuple[str, ...]  # a line for each option that is set and not followed

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
    def callers_file(self) -> Path:
        """Who may ask the API by a token or a certificate."""
        return Path(self.api.api_callers_file or self.state_directory / "api-callers.conf")

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the token database; it may hold a password."""
        return self.database.connection or f"sqlite:///{self.embedded_database}"

    @property
    def embedded_database(self) -> Path:
        """The gateway's own SQLite file, where it keeps the tokens itself."""
        return self.state_directory.absolute() / "vncproxy.sqlite"

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
    def port_check(self) -> Literal["rpc", "driver", "off"]:
        """Who is asked whether a token's port is still its machine's."""
        if self.openstack.port_check is not None:
            return self.openstack.port_check
        bus_known = self.messaging.transport_url or self.api_database.connection
        if bus_known and not self.keeps_tokens:
            return "rpc"
        return "driver" if self.compute.compute_driver else "off"

    @property
    def port_check_timeout_s(self) -> float:
        """Seconds that the answer may take."""
        chosen = self.openstack.port_check_timeout or self.messaging.rpc_response_timeout
        return max(0, chosen)

    @property
    def listeners(self) -> tuple[str, ...]:
        """The strings of all fronts' listeners (see ``listener``)."""
        return tuple(listen for front in self.served for listen in front.listeners)

    def _endpoint(self, host: str, port: int) -> str:
        return listen_string(host, port, self.tls, self.balancers.proxy_protocol)

    @property
    def log_path(self) -> str | None:
        """The file to log to, by the rules of oslo.log; None for where twistd logs."""
        name, directory = self.default.log_file, self.default.log_dir
        if not directory:
            return name or None
        return str(Path(directory) / (name or "vncproxy.log"))

    @property
    def tls(self) -> bool:
        """Whether there is a certificate, so that listeners can speak TLS."""
        return self.cert is not None or bool(self.tls_options.tls_certificates)

    @property
    def cert(self) -> str | None:
        """The file of nova's ``cert``, where it exists."""
        return self.default.cert if Path(self.default.cert).is_file() else None

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
