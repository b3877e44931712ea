"""MariaDB, started in private."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.e2e.certificates import issue
from tests.e2e.programs import Program, free_port, require


class MariaDb:
    """A MariaDB server in a private directory, reached by a UNIX socket, and by TCP with TLS.

    Args:
        options: more of its command line.
    """

    def __init__(self, *options: str) -> None:
        require("mariadbd", "mariadb-install-db")
        self.directory = Path(tempfile.mkdtemp(prefix="vncproxy-mariadb-"))
        self.socket = self.directory / "socket"
        self.port = free_port()
        self.ca_file = self.directory / "ca.pem"
        self._write_certificates()
        # MariaDB does not run as root.
        user = "mysql" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        (self.directory / "tmp").mkdir()
        for path in (self.directory, *self.directory.iterdir()):
            shutil.chown(path, user)
        # In a directory for temporary tables that it shared, each would remove the other's.
        own = [f"--datadir={self.directory}/data", f"--tmpdir={self.directory}/tmp"]
        Program(["mariadb-install-db", "--no-defaults", *own, f"--user={user}"]).run()
        self._command = [
            *("mariadbd", "--no-defaults", *own, f"--socket={self.socket}", f"--user={user}"),
            *("--bind-address=127.0.0.1", f"--port={self.port}"),
            f"--ssl-cert={self.directory}/cert.pem",
            f"--ssl-key={self.directory}/key.pem",
            *(f"--pid-file={self.directory}/pid", "--innodb-flush-method=fsync"),
            # Nothing of it needs to survive: the schema of a cell is made twice as fast.
            *("--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite"),
            *options,
        ]
        self.start()

    def _write_certificates(self) -> None:
        ca = issue("tests' CA", ca=True)
        ca.write(self.ca_file, self.directory / "ca-key.pem")
        issue("db", issuer=ca).write(self.directory / "cert.pem", self.directory / "key.pem")

    def let_nova_in(self) -> None:
        """Make the account that the URLs name."""
        self.run("CREATE USER nova@localhost IDENTIFIED BY 'hunter2'")
        self.run("GRANT ALL ON `nova%`.* TO nova@localhost")

    def start(self) -> None:
        """Start the server."""
        self._program = Program(self._command)
        self._program.wait_for("ready for connections")

    def stop(self) -> None:
        """Stop the server."""
        self._program.stop()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self._program.pid, number)

    def pause(self) -> None:
        """Let the server do nothing until ``go_on``, as on a host that has frozen."""
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it work again."""
        self.signal(signal.SIGCONT)

    def remove(self) -> None:
        """Stop it, and remove its directory."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, sql: str) -> str:
        """Run SQL as its administrator; return what it printed."""
        here = ["--skip-ssl", f"--socket={self.socket}"]
        client = ["mariadb", "--no-defaults", *here, "-N", "-e", sql]
        return subprocess.run(client, check=True, capture_output=True, text=True).stdout

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of its database ``nova``."""
        return self.url_of("nova")

    def url_of(self, database: str, user: str = "nova:hunter2") -> str:
        """Return the SQLAlchemy URL of a database of it."""
        return f"mysql+pymysql://{user}@localhost/{database}?unix_socket={self.socket}"


@cache
def shared_server() -> MariaDb:
    """Return the server of all tests: to make its data takes longer than they do."""
    server = MariaDb()
    server.let_nova_in()
    atexit.register(server.remove)
    return server
