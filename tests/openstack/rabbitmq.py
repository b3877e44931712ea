"""RabbitMQ, started in private, without a service manager."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.e2e.certificates import issue
from tests.e2e.programs import Program, free_port, require

# Debian's own command becomes another user, in a directory of its own; this one does as it is told.
_SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"


class RabbitMq:
    """A broker on loopback, in the clear and with TLS, with an epmd of its own."""

    def __init__(self) -> None:
        require(_SERVER, "epmd")
        self.directory = Path(tempfile.mkdtemp(prefix="vncproxy-rabbitmq-"))
        self.port, self.tls_port = free_port(), free_port()
        self._epmd_port = free_port()
        self.ca_file = self.directory / "ca.pem"
        self._write_configuration()
        self._epmd = Program(["epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port)])
        self.start()

    def _write_configuration(self) -> None:
        ca = issue("tests' CA", ca=True)
        ca.write(self.ca_file, self.directory / "ca-key.pem")
        issue("localhost", issuer=ca).write(self.directory / "cert.pem", self.directory / "key.pem")
        (self.directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.cacertfile = {self.ca_file}\n"
            f"ssl_options.certfile = {self.directory}/cert.pem\n"
            f"ssl_options.keyfile = {self.directory}/key.pem\n"
            "log.console = true\nlog.console.level = info\nlog.file = false\n"
        )
        (self.directory / "enabled_plugins").write_text("[].\n")

    def start(self) -> None:
        """Start the broker; its queues' data is still there if it ran before."""
        directory = str(self.directory)
        environment = {
            "HOME": directory,  # of the Erlang cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "vncproxy-test@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": f"{directory}/mnesia",
            "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/enabled_plugins",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1 -kernel inet_dist_use_interface "
            "{127,0,0,1}",
            "ERL_CRASH_DUMP_SECONDS": "0",
            "RUNNING_UNDER_SYSTEMD": "1",  # the program itself, with no shell around it
        }
        self._program = Program([_SERVER], environment)
        self._program.wait_for("Server startup complete|_already_used")
        if "Server startup complete" not in self.log:  # somebody else took the port meanwhile
            self._program.wait()
            self.start()

    @property
    def url(self) -> str:
        """oslo.messaging's URL of it."""
        return f"rabbit://guest:guest@127.0.0.1:{self.port}/"

    @property
    def log(self) -> str:
        """What it has logged; it logs each connection."""
        return self._program.output

    def stop(self) -> None:
        """Stop the broker."""
        self._program.stop()

    def remove(self) -> None:
        """Stop it and its epmd, and remove its directory."""
        self.stop()
        self._epmd.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
