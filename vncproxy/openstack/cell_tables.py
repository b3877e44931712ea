"""What a cell's and the API's database tell besides tokens: plain, blocking reads."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Engine, func, select

from vncproxy.errors import InstanceGone, PortCheckUnavailable, StoreUnavailable
from vncproxy.openstack.schema import CELL0, CELL_MAPPINGS, INSTANCES, SERVICES
from vncproxy.tokens.faults import told_as

_INSTANCE_COLUMNS = (
    INSTANCES.c.uuid,
    INSTANCES.c.id,
    INSTANCES.c.host,
    INSTANCES.c.node,
    INSTANCES.c.hostname,
    INSTANCES.c.display_name,
    INSTANCES.c.project_id,
    INSTANCES.c.user_id,
    INSTANCES.c.vm_state,
    INSTANCES.c.task_state,
)


@dataclass(frozen=True, slots=True)
class Instance:
    """A virtual machine as nova-compute is asked about it.

    Attributes:
        uuid: its name.
        host: nova-compute's name on the message bus.
        columns: of its row, by name.
    """

    uuid: str
    host: str
    columns: dict[str, object]

    def primitive(self) -> dict[str, object]:
        """Return nova's serialized form of the object.

        Every compute takes the lowest version of it, and loads itself what it misses.
        """
        return {
            "nova_object.name": "Instance",
            "nova_object.namespace": "nova",
            "nova_object.version": "2.0",
            "nova_object.data": {**self.columns, "deleted": False},
        }


@dataclass(frozen=True, slots=True)
class CellMapping:
    """A row of the API database: where a cell's database and message bus are, not yet filled."""

    name: str
    database_template: str = field(repr=False)
    transport_template: str = field(repr=False)


def find_instance(engine: Engine, uuid: str) -> Instance:
    """Return the machine.

    Raises:
        InstanceGone: it was deleted, or there is none.
        PortCheckUnavailable: it is on no host, or its row can't be read.
    """
    query = select(*_INSTANCE_COLUMNS).where(INSTANCES.c.uuid == uuid, INSTANCES.c.deleted == 0)
    with (
        told_as(PortCheckUnavailable, "the cell's database", engine),
        engine.connect() as connection,
    ):
        row = connection.execute(query).first()
    if row is None:
        raise InstanceGone(f"the machine {uuid} does not exist, or was deleted")
    columns = dict(row._mapping)
    if not columns["host"]:
        raise PortCheckUnavailable(f"the machine {uuid} is on no host")
    return Instance(uuid, str(columns["host"]), columns)


def oldest_compute(engine: Engine) -> int:
    """Return the lowest service version of the cell's computes; 0 where there are none.

    Raises:
        PortCheckUnavailable: it can't be read.
    """
    query = select(func.min(SERVICES.c.version)).where(
        SERVICES.c.binary == "nova-compute",
        SERVICES.c.deleted == 0,
        SERVICES.c.forced_down.is_(False),
    )
    what = "the question for the computes' versions"
    with told_as(PortCheckUnavailable, what, engine), engine.connect() as connection:
        oldest: int | None = connection.execute(query).scalar()
    return oldest or 0


def cell_mappings(engine: Engine) -> list[CellMapping]:
    """Return all cells but cell0, in which nothing runs.

    Raises:
        StoreUnavailable: they can't be read.
    """
    columns = CELL_MAPPINGS.c
    query = (
        select(columns.uuid, columns.name, columns.database_connection, columns.transport_url)
        .where(columns.uuid != CELL0)
        .order_by(columns.id)
    )
    with told_as(StoreUnavailable, "the API database", engine), engine.connect() as connection:
        rows = connection.execute(query).all()
    return [
        CellMapping(
            f"{row.name} ({row.uuid})" if row.name else row.uuid,  # names need not be unique
            row.database_connection or "",
            row.transport_url or "",
        )
        for row in rows
    ]
