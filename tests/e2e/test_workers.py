"""A gateway of several processes: the sessions are spread, and what dies is replaced."""

from __future__ import annotations

import collections
import contextlib
import os
import re
import signal
import socket
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from websockets.exceptions import ConnectionClosed

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.certificates import write_certificate
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import TWISTD, Gateway, Program, becomes_true, novnc_directory

_PAGE = b"GET /console HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def is_alive(pid: int) -> bool:
    """Return whether the process runs."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def descriptors(pid: int) -> list[str]:
    """Return what the process has open."""
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            names.append(re.sub(r"\d+", "N", str(link.readlink())))
    return sorted(names)


def memory_kb(pid: int) -> int:
    """Return the resident memory of the process, in KiB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])


class WorkersTestCase(SynchronousTestCase):
    def start(self, workers: int = 2, **options: object) -> None:
        """Start a gateway, and wait until all its workers are ready."""
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)
        self.gateway = Gateway({"workers": workers, **options})
        self.addCleanup(self.gateway.stop)
        self.pids = [self.ready(number) for number in range(1, workers + 1)]

    def ready(self, number: int, nth: int = 1) -> int:
        """Wait until the nth worker in this place is ready; return its process id."""
        line = rf"worker {number}, process (\d+), is ready"
        match = self.gateway.program.wait_for(f"(?s)(?:.*?{line}){{{nth}}}")
        return int(match[1])

    def open(self, url: str | None = None) -> ScriptedBrowser:
        """Open a console, by a new URL if none is given."""
        browser = ScriptedBrowser(url or self.gateway.console_url(self.target.port))
        self.addCleanup(browser.socket.socket.close)
        self.assertEqual(browser.open_console(), fake_targets.SERVER_INIT)
        return browser

    def answers(self) -> bool:
        """Return whether a new connection is served; a refused one is an error."""
        with socket.create_connection(("127.0.0.1", self.gateway.port), 20) as connection:
            connection.sendall(_PAGE)
            return connection.recv(100).startswith(b"HTTP/1.1 200 OK")

    def workers_of_sessions(self) -> list[int]:
        """Return the workers of all sessions so far."""
        return [
            int(it) for it in re.findall(r"\[worker (\d) [^]]*\] req-.* opens", self.gateway.log)
        ]


def echoes(browser: ScriptedBrowser) -> bool:
    """Return whether the console still answers."""
    try:
        browser.write(b"key")
    except ConnectionClosed:
        return False
    return browser.read(3) == b"key"


class DeathTests(WorkersTestCase):
    def test_a_worker_is_killed(self) -> None:
        """Its sessions end, the others go on, nobody is refused, and a new worker takes over."""
        self.start()
        urls = [self.gateway.console_url(self.target.port) for _ in range(64)]
        with ThreadPoolExecutor(4) as threads:
            browsers = list(threads.map(self.open, urls))
        share = collections.Counter(self.workers_of_sessions())
        self.assertEqual(sum(share.values()), 64)
        self.assertGreater(min(share[1], share[2]), 12, share)

        over = threading.Event()

        def connect_all_the_time() -> tuple[int, int]:
            served = failed = 0
            while not over.is_set():
                try:
                    served += self.answers()
                except ConnectionRefusedError:
                    raise
                except OSError:  # accepted by the worker that was killed
                    failed += 1
            return served, failed

        with ThreadPoolExecutor(1) as thread:
            connecting = thread.submit(connect_all_the_time)
            os.kill(self.pids[1], signal.SIGKILL)
            again = self.ready(2, nth=2)
            over.set()
            served, failed = connecting.result()
        self.assertGreater(served, 0)
        self.assertLessEqual(failed, 1)
        self.assertNotEqual(again, self.pids[1])
        self.assertIn(f"worker 2, process {self.pids[1]}, was killed by SIGKILL", self.gateway.log)
        living = [echoes(browser) for browser in browsers]
        self.assertEqual(living.count(True), share[1])

        before = len(self.workers_of_sessions())
        for _ in range(16):
            self.open()
        # It has none yet, so it is left what comes; on a busy machine not all of it.
        newest = collections.Counter(self.workers_of_sessions()[before:])
        self.assertGreater(newest[2], 0)

    def test_the_parent_is_killed(self) -> None:
        """No worker is left behind, not even one with a session; the port is free again."""
        self.start()
        browser = self.open()
        os.kill(self.gateway.program.pid, signal.SIGKILL)
        self.assertEqual(browser.read_close()[0], 1001)
        for pid in self.pids:
            self.assertTrue(becomes_true(lambda pid=pid: not is_alive(pid)))  # type: ignore[misc]
        with self.assertRaises(ConnectionRefusedError):
            self.answers()

    def test_restarts_leave_nothing_behind(self) -> None:
        """Of twenty restarts neither the parent's descriptors nor its memory grow."""
        self.start(workers=4)
        parent = self.gateway.program.pid
        before, memory_before = descriptors(parent), memory_kb(parent)
        inherited = descriptors(self.pids[0])
        for nth in range(2, 7):
            for pid in self.pids:
                os.kill(pid, signal.SIGTERM)
            self.pids = [self.ready(number, nth) for number in range(1, 5)]
        self.assertTrue(becomes_true(lambda: descriptors(parent) == before), descriptors(parent))
        self.assertLess(memory_kb(parent) - memory_before, 1024)
        self.assertEqual(descriptors(self.pids[3]), inherited)
        # The listening socket, the parent's connection, and the reactor's own.
        self.assertEqual(inherited.count("socket:[N]"), 2, inherited)
        self.assertNotIn("Traceback", self.gateway.log)


class StopTests(WorkersTestCase):
    def test_signals(self) -> None:
        """SIGHUP ends nobody; upon SIGTERM all workers tell their browsers and end, then we."""
        self.start()
        browsers = [self.open() for _ in range(6)]
        os.kill(self.gateway.program.pid, signal.SIGHUP)
        self.assertTrue(all(echoes(browser) for browser in browsers))
        self.gateway.program.terminate()
        for browser in browsers:
            self.assertEqual(
                browser.read_close(), (1001, "The console gateway is being restarted.")
            )
        self.assertEqual(self.gateway.program.wait(), -signal.SIGTERM)
        self.assertFalse([pid for pid in self.pids if is_alive(pid)])
        self.assertEqual(self.gateway.log.count(": gateway-stopping; "), 6)
        self.assertIn("worker 1, process", self.gateway.log)
        self.assertNotIn("the next one starts", self.gateway.log)
        self.assertNotIn("Traceback", self.gateway.log)

    def test_settings_that_no_worker_can_follow(self) -> None:
        """End the gateway with the one line of the one worker that was tried."""
        config = Path(self.mktemp()).absolute()
        with open(os.devnull, "a") as nowhere:
            # The parent alone has this descriptor, so only a worker can't open the file.
            config.write_text(
                f"[DEFAULT]\nweb = {novnc_directory()}\nlog_file = /dev/fd/{nowhere.fileno()}\n"
                "[vnc]\nnovncproxy_port = 0\n"
                f"[vncproxy]\nworkers = 2\nstate_path = {config}.state\n"
            )
            os.dup2(nowhere.fileno(), 99)
            self.addCleanup(os.close, 99)
            config.write_text(config.read_text().replace(f"fd/{nowhere.fileno()}", "fd/99"))
            gateway = Program(
                [*TWISTD, "-n", "--pidfile=", "vncproxy", f"--config-file={config}"], pass_fds=(99,)
            )
            self.assertEqual(gateway.wait(), 1)
        self.assertEqual(gateway.output.count("log_file: can't write /dev/fd/99"), 1)
        self.assertNotIn("Traceback", gateway.output)


class ListenerTests(WorkersTestCase):
    def test_every_kind_of_socket(self) -> None:
        """UNIX, systemd's and TLS sockets are handed down; a UNIX socket's path stays."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        cert, config = directory / "cert.pem", directory / "vncproxy.conf"
        write_certificate(cert)
        path = Path("/tmp") / f"vncproxy-test-{os.getpid()}-workers.sock"
        config.write_text(
            f"[DEFAULT]\nweb = {novnc_directory()}\n"
            f"[vncproxy]\nworkers = 2\nstate_path = {directory}/state\n"
            f"listen = unix:{path}:mode=600\n"
            f"listen = ssl:0:interface=127.0.0.1:privateKey={cert}:certKey={cert}\n"
            "listen = systemd:domain=INET:index=0\n"
        )
        with socket.create_server(("127.0.0.1", 0)) as listener:
            become = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid());"
            become += f"os.dup2({listener.fileno()}, 3); os.set_inheritable(3, True);"
            become += "os.execv(sys.argv[1], sys.argv[1:])"
            gateway = Program(
                [
                    *(sys.executable, "-c", become, *TWISTD),
                    *("-n", "--pidfile=", "vncproxy", f"--config-file={config}"),
                ],
                {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "vncproxy.socket"},
                pass_fds=(listener.fileno(),),
            )
            self.addCleanup(gateway.stop)
            port = int(gateway.wait_for(r"\(TLS\) starting on (\d+)")[1])
            pid = int(gateway.wait_for(r"worker 2, process (\d+), is ready")[1])
            os.kill(pid, signal.SIGTERM)
            gateway.wait_for(r"(?s)(?:.*?worker 2, process (\d+), is ready){2}")
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            with socket.socket(socket.AF_UNIX) as local:
                local.connect(str(path))
                self.assert_served(local)
            with socket.create_connection(listener.getsockname()) as connection:
                self.assert_served(connection)
            context = ssl.create_default_context(cafile=str(cert))
            with (
                socket.create_connection(("127.0.0.1", port)) as raw,
                context.wrap_socket(raw, server_hostname="127.0.0.1") as secure,
            ):
                self.assert_served(secure)
            gateway.stop()
        self.assertFalse(path.exists())
        self.assertNotIn("Traceback", gateway.output)

    def assert_served(self, connection: socket.socket) -> None:
        connection.sendall(_PAGE)
        self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 200 OK"))
