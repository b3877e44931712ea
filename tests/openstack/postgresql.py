"""PostgreSQL, started in private."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg

from tests.e2e.programs import Program, free_port, require


class PostgreSql:
    """A server on loopback, whose administrator is ``nova`` without a password."""

    def __init__(self) -> None:
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        require(str(binaries[-1] / "initdb") if binaries else "/usr/lib/postgresql/*/bin/initdb")
        self.directory = Path(tempfile.mkdtemp(prefix="vncproxy-postgresql-"))
        self.port = free_port()
        # PostgreSQL does not run as root.
        user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        entry = pwd.getpwnam(user)
        shutil.chown(self.directory, user)
        become = (
            ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
            if os.geteuid() == 0
            else []
        )
        data = str(self.directory / "data")
        subprocess.run(
            [*become, str(binaries[-1] / "initdb"), "-D", data, "-U", "nova", "-A", "trust", "-N"],
            check=True,
            capture_output=True,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        self._program = Program(
            [
                *become,
                *(str(binaries[-1] / "postgres"), "-D", data, "-h", "127.0.0.1"),
                *("-p", str(self.port), "-k", str(self.directory), "-F"),
            ]
        )
        self._program.wait_for("ready to accept connections")

    def url_of(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database of it, as nova writes it."""
        return f"postgresql+psycopg2://nova@127.0.0.1:{self.port}/{database}"

    def run(self, sql: str, database: str = "postgres") -> str:
        """Run SQL as its administrator; return what came of it."""
        with self._connect(database) as connection:
            cursor = connection.execute(sql.encode())
            return "\n".join(str(row[0]) for row in cursor) if cursor.description else ""

    @contextmanager
    def lock(self, database: str, table: str) -> Iterator[None]:
        """Let nobody else read a table meanwhile."""
        with self._connect(database) as connection, connection.transaction():
            connection.execute(f"LOCK TABLE {table}".encode())
            yield

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        where = f"host=127.0.0.1 port={self.port} user=nova dbname={database}"
        return psycopg.connect(where, autocommit=True)

    def remove(self) -> None:
        """Stop it, and remove its directory."""
        self._program.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


@cache
def shared_server() -> PostgreSql:
    """Return the server of the tests that make databases of their own on it."""
    server = PostgreSql()
    atexit.register(server.remove)
    return server
