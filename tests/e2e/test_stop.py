"""Stop, reload and restart of a running gateway, seen from its users and its supervisor."""

from __future__ import annotations

import contextlib
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.handmade import Console, connect
from tests.e2e.programs import (
    TWISTD,
    Gateway,
    Program,
    becomes_true,
    issue_token,
    novnc_directory,
    start_by_systemd,
)

_RESTARTED = (1001, "The console gateway is being restarted.")


class StopTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)

    def gateway(self, **options: object) -> Gateway:
        gateway = Gateway(options)
        self.addCleanup(gateway.stop)
        return gateway

    def console(self, gateway: Gateway) -> Console:
        token = gateway.console_url(self.target.port)[-36:]
        connection = connect(gateway.port)
        self.addCleanup(connection.close)
        return Console(connection, f"/?token={token}")


class DrainTests(StopTestCase):
    def test_a_drain(self) -> None:
        """After SIGTERM nobody is let in and nobody is cut; the last one to leave ends it."""
        gateway = self.gateway(drain_timeout=120)
        consoles = [self.console(gateway) for _ in range(5)]
        gateway.program.terminate()
        gateway.program.wait_for("5 consoles may go on for 120 s")
        self.assertRaises(ConnectionRefusedError, connect, gateway.port)
        for console in consoles:
            self.assertTrue(console.lives())
            console.close()
        self.assertEqual(gateway.program.wait(), -signal.SIGTERM)
        self.assertNotIn("gateway-stopping", gateway.log)

    def test_its_end(self) -> None:
        """No console is cut before the time-out; then each is told."""
        gateway = self.gateway(drain_timeout=2)
        consoles = [self.console(gateway) for _ in range(5)]
        begun = time.monotonic()
        gateway.program.terminate()
        for console in consoles:
            self.assertTrue(console.lives())
        for console in consoles:
            self.assertEqual(console.read_close(), _RESTARTED)
            self.assertGreater(time.monotonic() - begun, 2)
        gateway.program.wait()
        self.assertEqual(gateway.log.count("gateway-stopping"), 5)

    def test_a_second_signal(self) -> None:
        """Whoever can't wait sends SIGTERM again."""
        gateway = self.gateway(drain_timeout=1000)
        console = self.console(gateway)
        gateway.program.terminate()
        gateway.program.wait_for("may go on")
        self.assertTrue(console.lives())
        gateway.program.terminate()
        self.assertEqual(console.read_close(), _RESTARTED)
        self.assertEqual(gateway.program.wait(), -signal.SIGTERM)

    def test_ctrl_c(self) -> None:
        """Ctrl-C drains nothing."""
        gateway = self.gateway(drain_timeout=1000, drain_notice=1000)
        console = self.console(gateway)
        gateway.program.signal(signal.SIGINT)
        self.assertEqual(console.read_close(), _RESTARTED)
        self.assertEqual(gateway.program.wait(), -signal.SIGINT)

    def test_the_notice(self) -> None:
        """For a while /readyz fails and consoles are still opened."""
        gateway = self.gateway(drain_notice=1000, drain_timeout=1000)
        self.assertEqual(self.ready(gateway), 200)
        gateway.program.terminate()
        gateway.program.wait_for("not ready any more")
        self.assertEqual(self.ready(gateway), 503)
        with self.console(gateway) as console:
            self.assertTrue(console.lives())
        gateway.program.terminate()
        gateway.program.wait()

    def ready(self, gateway: Gateway) -> int:
        with connect(gateway.port) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            return int(connection.recv(999).split()[1])


class ReloadTests(StopTestCase):
    def test_sighup(self) -> None:
        """What can follow follows, what can't is named, and a running console does not notice."""
        gateway = self.gateway(heartbeat_interval=25)
        console = self.console(gateway)
        text = gateway.config_file.read_text()
        text = text.replace("[vncproxy]", "[DEFAULT]\ndebug = True\n[vncproxy]\ndrain_timeout = 7")
        gateway.config_file.write_text(text.replace("= 25", "= 20"))
        gateway.program.signal(signal.SIGHUP)
        gateway.program.wait_for(
            r"reloaded; changed: \[DEFAULT\] debug, \[vncproxy\] drain_timeout"
        )
        gateway.program.wait_for(r"only a restart takes over \[vncproxy\] heartbeat_interval")
        gateway.config_file.write_text("[vncproxy]\nhartbeat_interval = 20\n")
        gateway.program.signal(signal.SIGHUP)
        gateway.program.wait_for("the configuration stays as it was, because .*did you mean")
        self.assertTrue(console.lives())
        console.close()
        gateway.program.wait_for("client-closed")
        self.assertNotIn("Traceback", gateway.log)

    def test_a_log_that_was_rotated(self) -> None:
        """After SIGHUP the log goes on in a new file."""
        directory = Path(tempfile.mkdtemp(prefix="vncproxy-log-"))
        log, old = directory / "log", directory / "log.1"
        config = directory / "vncproxy.conf"
        config.write_text(
            f"[DEFAULT]\nweb = {novnc_directory()}\nlog_file = {log}\n"
            f"[vncproxy]\nstate_path = {directory}/state\nlisten = unix:{directory}/socket\n"
        )
        program = Program([*TWISTD, "-n", "--pidfile=", "vncproxy", f"--config-file={config}"])
        self.addCleanup(program.stop)
        self.assertTrue(becomes_true(lambda: log.exists() and "listening on" in log.read_text()))
        log.rename(old)
        program.signal(signal.SIGHUP)
        self.assertTrue(becomes_true(lambda: log.exists() and "reloaded" in log.read_text()))


class WorkersTests(StopTestCase):
    def test_reload_and_drain(self) -> None:
        """Workers follow the parent: its reload, its drain, and the end of that."""
        gateway = self.gateway(workers=2, drain_timeout=1000)
        gateway.program.wait_for("worker 2, process .* is ready")
        console = self.console(gateway)
        with gateway.config_file.open("a") as config:
            config.write("trusted_proxies = 127.0.0.1\n")
        gateway.program.signal(signal.SIGHUP)
        for number in (1, 2):
            gateway.program.wait_for(
                rf"worker {number}.*reloaded; changed: \[vncproxy\] trusted_proxies"
            )
        with connect(gateway.port) as connection:
            forwarded = {"X-Forwarded-For": "198.51.100.7"}
            token = gateway.console_url(self.target.port)[-36:]
            with Console(connection, f"/?token={token}", forwarded):
                gateway.program.wait_for("opens: 198.51.100.7 to instance")
        gateway.program.terminate()
        gateway.program.wait_for(r"\d consoles may go on for 1000 s")
        self.assertTrue(console.lives())
        gateway.program.terminate()
        self.assertEqual(console.read_close(), _RESTARTED)
        self.assertEqual(gateway.program.wait(), -signal.SIGTERM)
        self.assertNotIn("Traceback", gateway.log)


class SystemdTests(StopTestCase):
    """A stand-in of systemd: it holds the listening socket, and hears the notices."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(tempfile.mkdtemp(prefix="vncproxy-systemd-"))
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.addCleanup(self.listener.close)
        self.port: int = self.listener.getsockname()[1]
        self.config = self.directory / "vncproxy.conf"
        self.config.write_text(
            f"[DEFAULT]\nweb = {novnc_directory()}\n"
            f"[vncproxy]\nstate_path = {self.directory}/state\n"
            "listen = systemd:domain=INET:index=0\ndrain_timeout = 60\n"
        )

    def start(self, environment: dict[str, str] | None = None) -> Program:
        program = start_by_systemd(self.listener, self.config, environment)
        self.addCleanup(program.stop)
        return program

    def ask(self) -> None:
        """Open a page as a new client."""
        with connect(self.port) as connection:
            connection.sendall(b"GET /console HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200 OK"), answer[:100]

    def ask_until(self, stop: threading.Event, counts: list[int], broken: list[object]) -> None:
        while not stop.is_set():
            try:
                self.ask()
                counts[0] += 1
            except Exception as error:  # counted
                broken.append(error)

    @contextlib.contextmanager
    def clients(self) -> Iterator[list[int]]:
        """Let clients come all the time; each must be answered. Give how many were."""
        stop, counts, broken = threading.Event(), [0], list[object]()
        threads = [
            threading.Thread(target=self.ask_until, args=(stop, counts, broken)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        try:
            yield counts
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(broken, [])

    def assert_more(self, counts: list[int]) -> None:
        before = counts[0]
        self.assertTrue(becomes_true(lambda: counts[0] > before + 8))

    def test_a_restart_refuses_nobody(self) -> None:
        """Clients come all the time while the gateway is restarted thrice; each is answered."""
        program = self.start()
        program.wait_for("listening on systemd")
        with self.clients() as counts:
            for _ in range(3):
                program.terminate()
                program.wait()
                program = self.start()
                program.wait_for("listening on systemd")
                self.assert_more(counts)

    def test_one_drains_beside_the_next(self) -> None:
        """Two gateways share the socket: the old one's consoles go on, the new one serves."""
        old = self.start()
        old.wait_for("listening on systemd")
        token = issue_token(self.config, self.target.port)[-36:]
        with self.clients() as counts:
            with Console(connect(self.port), f"/?token={token}") as console:
                self.start().wait_for("listening on systemd")
                old.terminate()
                old.wait_for("1 consoles may go on for 60 s")
                self.assert_more(counts)
                self.assertTrue(console.lives())
            old.wait()
            self.assert_more(counts)

    def test_the_notices(self) -> None:
        """Ready, reloading, ready, stopping with the time that it may take."""
        path = f"{self.directory}/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(path)
            systemd.settimeout(30)
            program = self.start({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "600000000"})

            def hear() -> str:
                return systemd.recv(999).decode()

            self.assertEqual(hear(), "READY=1\nSTATUS=0 consoles")
            self.ask()
            program.signal(signal.SIGHUP)
            self.assertRegex(hear(), r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
            self.assertEqual(hear(), "READY=1")
            program.terminate()
            # drain_timeout, stop_timeout, and a quarter of a minute
            self.assertEqual(hear(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=78000000")
            program.wait()
