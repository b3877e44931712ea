"""PostgreSQL, started in private."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

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

    def remove(self) -> None:
        """Stop it, and remove its directory."""
        self._program.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
