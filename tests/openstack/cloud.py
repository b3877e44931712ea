"""A cloud for tests: database, message bus, and nova of the oldest and the newest release."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

from tests.e2e import mariadb
from tests.e2e.programs import Gateway
from tests.openstack.nova_process import NEWEST, OLDEST, Nova
from tests.openstack.rabbitmq import RabbitMq


@dataclass(frozen=True, slots=True)
class Console:
    """A machine whose console can be opened.

    Attributes:
        uuid: of the machine.
        token: that opens it.
        url: that nova composed.
    """

    uuid: str
    token: str
    url: str


class Cell:
    """Nova of one release, with a database of its own.

    Args:
        python: that has this release.
        database: name of its database.
        bus: its message bus.
    """

    def __init__(self, python: str, database: str, bus: RabbitMq) -> None:
        self._server = mariadb.shared_server()
        self._server.run(f"CREATE OR REPLACE DATABASE {database} CHARACTER SET utf8")
        self.bus = bus
        self.database = database
        self.database_url = self._server.url_of(database)
        self.directory = Path(tempfile.mkdtemp(prefix="vncproxy-nova-"))
        self.config_file = self.directory / "nova.conf"
        self.config_file.write_text(
            f"[DEFAULT]\ntransport_url = {bus.url}\nrpc_response_timeout = 20\n"
            f"[database]\nconnection = {self.database_url}\n"
        )
        self._gateway: Gateway | None = None
        self.nova = Nova(python, self.config_file)
        self.nova.do("schema", database_url=self.database_url)

    @property
    def configuration(self) -> str:
        """Sections of a gateway's configuration for it."""
        return self.config_file.read_text()

    def sql(self, statement: str) -> str:
        """Run SQL in its database as the server's administrator."""
        return self._server.run(f"USE {self.database}; {statement}")

    def console(self, host: str | None, port: int, **changes: object) -> Console:
        """Make a machine on a compute, and a token for its console at this port of loopback."""
        uuid = str(uuid4())
        self.nova.do("machine", uuid=uuid, host=host)
        return self.token_for(uuid, port, **changes)

    def token_for(self, uuid: str, port: int, **changes: object) -> Console:
        """Issue a token for a machine's console, with some of its fields changed."""
        fields: dict[str, object] = {
            "instance_uuid": uuid,
            "host": "127.0.0.1",
            "port": port,
            "console_type": "novnc",
            "access_url_base": "http://127.0.0.1:6080/vnc_lite.html",
            "internal_access_path": None,
        }
        issued = self.nova.do("authorize", **{**fields, **changes})
        return Console(uuid, issued["token"], issued["url"])

    def gateway(self, options: dict[str, object] | None = None, more: str = "") -> Gateway:
        """Start a gateway for this cell."""
        own = {"database_timeout": 5, "max_sessions_per_token": 0, **(options or {})}
        return Gateway(own, database=self.database_url, more=f"{self.configuration}{more}")

    def shared_gateway(self) -> Gateway:
        """Return the gateway that all tests of this cell share."""
        if self._gateway is None:
            self._gateway = self.gateway()
            atexit.register(self._gateway.stop)
        return self._gateway

    def remove(self) -> None:
        """End its nova."""
        self.nova.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


@cache
def shared_bus() -> RabbitMq:
    """Return the broker of all tests."""
    bus = RabbitMq()
    atexit.register(bus.remove)
    return bus


@cache
def oldest() -> Cell:
    """Return the cell of the oldest nova."""
    return _kept(Cell(OLDEST, "nova_oldest", shared_bus()))


@cache
def newest() -> Cell:
    """Return the cell of the newest nova."""
    return _kept(Cell(NEWEST, "nova_newest", shared_bus()))


def _kept(cell: Cell) -> Cell:
    atexit.register(cell.remove)
    return cell
