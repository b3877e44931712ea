"""The columns of nova's tables that are read here, and no others: releases differ in the rest."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table, Text

METADATA = MetaData()

INSTANCES = Table(  # of a cell's database
    "instances",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False),
    Column("host", String(255)),  # nova-compute's name on the message bus
    Column("node", String(255)),
    Column("hostname", String(255)),
    Column("display_name", String(255)),
    Column("project_id", String(255)),
    Column("user_id", String(255)),
    Column("vm_state", String(255)),
    Column("task_state", String(255)),
    Column("deleted", Integer),  # 0: it lives
)

SERVICES = Table(  # of a cell's database
    "services",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("binary", String(255)),
    Column("version", Integer),
    Column("forced_down", Boolean),
    Column("deleted", Integer),
)

CELL_MAPPINGS = Table(  # of the API database
    "cell_mappings",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False),
    Column("name", String(255)),
    Column("transport_url", Text),  # a URL or a template; see openstack.cell_url
    Column("database_connection", Text),  # the same
)

CELL0 = "00000000-0000-0000-0000-000000000000"  # has no computes, so no tokens
