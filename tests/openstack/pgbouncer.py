"""PgBouncer, started in private in front of a PostgreSQL."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from tests.e2e.programs import Program, free_port, require
from tests.openstack.postgresql import PostgreSql


class PgBouncer:
    """A pooler on loopback, as its package configures it but for the mode.

    Args:
        server: where its connections lead.
        mode: ``session`` or ``transaction``.
        most: connections to the server at once.
    """

    def __init__(self, server: PostgreSql, mode: str, most: int = 5) -> None:
        require("pgbouncer")
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="vncproxy-pgbouncer-"))
        users = self._directory / "users.txt"
        users.write_text('"nova" ""\n')
        configuration = self._directory / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\n"
            f"pool_mode = {mode}\ndefault_pool_size = {most}\n"
        )
        for path in (self._directory, users, configuration):
            path.chmod(0o755)
        # It does not run as root.
        become = ["--user", "postgres"] if os.geteuid() == 0 else []
        self._program = Program(["pgbouncer", *become, str(configuration)])
        self._program.wait_for("process up")

    def url_of(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database behind it, as nova writes it."""
        return f"postgresql+psycopg2://nova@127.0.0.1:{self.port}/{database}"

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._program.signal(number)

    def remove(self) -> None:
        """Stop it, and remove its directory."""
        self._program.stop()
        shutil.rmtree(self._directory, ignore_errors=True)
