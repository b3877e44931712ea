"""A program for nova's own Python: makes what nova makes, with nova's own code.

It reads one JSON object a line, ``{"do": NAME, ...}``, and answers each with one. What it makes:
the schema of a cell's database, machines, console tokens, and a nova-compute's RPC server.

    PYTHON nova_side.py CONFIG_FILE
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import nova
import oslo_messaging
from nova import config, context, exception, objects, rpc
from nova.db import migration
from nova.db.api import api
from nova.db.main import api as database
from nova.objects import base as objects_base
from oslo_config import cfg

CONF = cfg.CONF
_SOURCE = Path(nova.__file__).parent / "compute/manager.py"


class Compute:
    """The part of a nova-compute that answers ``validate_console_port``.

    Args:
        consoles: ``[port, type]`` by machine, as its hypervisor has them.
        fault: what goes wrong: the name of an exception of nova's, "slow", or "wrong type".
    """

    def __init__(self, version: str, consoles: dict[str, Any], fault: str) -> None:
        self.target = oslo_messaging.Target(version=version)
        self.consoles = consoles
        self.fault = fault
        self.asked: list[dict[str, Any]] = []

    def validate_console_port(
        self, ctxt: context.RequestContext, instance: Any, port: Any, console_type: Any
    ) -> Any:
        """Answer as nova's compute manager does, or with the fault."""
        assert isinstance(ctxt, context.RequestContext) and ctxt.is_admin
        assert isinstance(instance, objects.Instance)
        self.asked.append(
            {"uuid": instance.uuid, "id": instance.id, "port": port, "type": console_type}
        )
        if self.fault == "slow":
            time.sleep(3)
        elif self.fault == "wrong type":
            return "true"
        elif self.fault == "NotImplementedError":
            raise NotImplementedError
        elif self.fault:
            raise getattr(exception, self.fault)(instance_id=instance.uuid, console_type="x")
        return self.consoles.get(instance.uuid) == [port, console_type]


class NovaSide:
    """Does what it is told."""

    def __init__(self) -> None:
        self._context = context.get_admin_context()
        self._servers: dict[str, tuple[Compute, list[Any]]] = {}
        # What a compute of this release serves, without importing all that it needs.
        version = re.search(r"Target\(version='([\d.]+)'\)", _SOURCE.read_text())
        assert version is not None
        self._version = version[1]

    def do_schema(self, database_url: str) -> None:
        """Make or upgrade the schema of a cell's database."""
        self.do_use(database_url)
        migration.db_sync(database="main")

    def do_use(self, database_url: str) -> None:
        """Work on another database."""
        CONF.set_override("connection", database_url, group="database")
        database.context_manager._factory._started = False
        migration._ENGINE = {}

    def do_api_schema(self, database_url: str) -> None:
        """Make the schema of an API database, and cell0 in it."""
        CONF.set_override("connection", database_url, group="api_database")
        api.context_manager._factory._started = False
        api.configure(CONF)
        migration.db_sync(database="api")
        self.do_cell("cell0", objects.CellMapping.CELL0_UUID, "none:///", "mysql://nowhere/cell0")

    def do_cell(self, name: str, uuid: str, transport_url: str, database_url: str) -> None:
        """Map a cell in the API database; both URLs may be templates."""
        objects.CellMapping(
            self._context,
            name=name,
            uuid=uuid,
            transport_url=transport_url,
            database_connection=database_url,
        ).create()

    def do_machine(self, uuid: str, host: str | None) -> int:
        """Make the row of a machine; return its id."""
        values = {"uuid": uuid, "host": host, "node": host, "display_name": "tests'"}
        row_id: int = database.instance_create(self._context, values)["id"]
        return row_id

    def do_destroy(self, uuid: str) -> None:
        """Delete a machine, and its tokens, as nova does."""
        database.instance_destroy(self._context, uuid)
        objects.ConsoleAuthToken.clean_console_auths_for_instance(self._context, uuid)

    def do_move(self, uuid: str, host: str | None) -> None:
        """Put a machine on another host."""
        database.instance_update(self._context, uuid, {"host": host})

    def do_authorize(self, ttl: int = 600, **fields: Any) -> dict[str, str]:
        """Issue a console token; return it and the URL that opens the console."""
        issued = objects.ConsoleAuthToken(context=self._context, **fields)
        return {"token": issued.authorize(ttl), "url": issued.access_url}

    def do_compute(
        self,
        host: str,
        topics: list[str],
        transport_url: str | None = None,
        version: str | None = None,
        fault: str = "",
    ) -> str:
        """Start the RPC servers of a nova-compute; return the version they serve."""
        version = version or self._version
        compute = Compute(version, {}, fault)
        transport = rpc.TRANSPORT
        if transport_url:
            transport = oslo_messaging.get_rpc_transport(CONF, url=transport_url)
        serializer = rpc.RequestContextSerializer(objects_base.NovaObjectSerializer())
        servers = [
            oslo_messaging.get_rpc_server(
                transport,
                oslo_messaging.Target(topic=topic, server=host, exchange="nova"),
                [compute],
                executor="threading",
                serializer=serializer,
            )
            for topic in topics
        ]
        for server in servers:
            server.start()
        self._servers[host] = (compute, servers)
        return version

    def do_consoles(self, host: str, consoles: dict[str, Any], fault: str = "") -> None:
        """Set what a compute's hypervisor has."""
        self._servers[host][0].consoles = consoles
        self._servers[host][0].fault = fault

    def do_add_console(self, host: str, uuid: str, port: int, kind: str) -> None:
        """Let a compute's hypervisor have one console more."""
        self._servers[host][0].consoles[uuid] = [str(port), kind]

    def do_asked(self, host: str) -> list[dict[str, Any]]:
        """Return, and forget, what a compute was asked."""
        compute = self._servers[host][0]
        asked, compute.asked = compute.asked, []
        return asked

    def do_stop_compute(self, host: str) -> None:
        """Stop the RPC servers of a nova-compute; their queues stay behind."""
        for server in self._servers.pop(host)[1]:
            server.stop()
            server.wait()


def main() -> None:
    """Serve standard input until its end."""
    answers = sys.stdout
    sys.stdout = sys.stderr
    config.parse_args(["nova-side", "--config-file", sys.argv[1]], configure_db=False)
    objects.register_all()
    rpc.init(CONF)
    side = NovaSide()
    print(json.dumps({"ready": nova.version.version_string()}), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            result = {"result": getattr(side, "do_" + order.pop("do"))(**order)}
        except Exception as error:
            result = {"error": repr(error)}
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    main()
