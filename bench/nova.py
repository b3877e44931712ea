"""nova-novncproxy as it is deployed: with a database, a message bus, and a compute that answers.

Those come from ``tests/openstack``; they run on the cores of client and target, and nothing that
they use counts as the proxy's.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.processes import CannotMeasure, Program

PROGRAM = "/usr/bin/nova-novncproxy"
_HOST = "bench-compute"


def missing() -> str | None:
    """Return why nova can't be measured, or None."""
    if importlib.util.find_spec("tests.openstack") is None:
        return "this checkout has no tests/openstack, which starts the cloud around it"
    absent = [name for name in (PROGRAM, "mariadbd", "rabbitmq-server") if not _found(name)]
    return f"not installed: {', '.join(absent)}" if absent else None


def _found(name: str) -> bool:
    return shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin") is not None


def start(
    directory: Path, port: int, target_port: int, tokens: int, cores: Iterable[int]
) -> tuple[Program, Path]:
    """Start a proxy; return it, and the file of paths whose tokens open the target.

    The cloud behind it is started at first, and serves all proxies of a run.

    Raises:
        CannotMeasure: it did not start.
    """
    paths = directory / "nova-paths"
    try:
        cell = importlib.import_module("tests.openstack.cloud").oldest()
        if not paths.exists():
            _furnish(cell, target_port, tokens, paths)
    except Exception as error:  # whatever of all those programs it is, it can't be measured
        raise CannotMeasure(f"no cloud for nova-novncproxy: {error!r}") from error
    config = directory / "nova.conf"
    config.write_text(
        f"[DEFAULT]\ntransport_url = {cell.bus.url}\nweb =\n"
        f"[database]\nconnection = {cell.database_url}\n"
        f"[vnc]\nnovncproxy_host = 127.0.0.1\nnovncproxy_port = {port}\n"
    )
    command = [PROGRAM, "--config-file", str(config)]
    return Program(command, port, directory / "nova-novncproxy.log", cores), paths


def _furnish(cell: Any, target_port: int, tokens: int, paths: Path) -> None:  # noqa: ANN401
    """Make a machine whose console is the target, and its tokens."""
    machine = str(uuid4())
    cell.nova.do("machine", uuid=machine, host=_HOST)
    cell.nova.do("compute", host=_HOST, topics=["compute"])
    cell.nova.do("consoles", host=_HOST, consoles={machine: [str(target_port), "novnc"]})
    with paths.open("w") as file:
        for _ in range(tokens):
            issued = cell.token_for(machine, target_port, ttl=24 * 3600)
            file.write(f"/?token={issued.token}\n")
