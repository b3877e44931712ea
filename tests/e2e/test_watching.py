"""Metrics and the audit log of a real gateway."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import TWISTD, Gateway, becomes_true
from tests.metrics.test_metrics import samples

_BAD_TOKEN = "00000000-dead-4bad-8bad-000000000000"


def get(path: Path, target: str) -> bytes:
    """Return what a server on a UNIX socket answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


class WatchingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)

    def gateway(self, **options: object) -> Gateway:
        gateway = Gateway(dict(options))
        self.addCleanup(gateway.stop)
        gateway.program.wait_for(rf"listening on .*{gateway.port}")
        return gateway

    def test_a_scrape(self) -> None:
        """What has happened is in the metrics, on their own listener only."""
        path = self.socket_path()
        gateway = self.gateway(metrics_listen=f"unix:{path}")

        def scrape() -> dict[str, float]:
            head, _, body = get(path, "/metrics").partition(b"\r\n\r\n")
            self.assertIn(b"Content-Type: text/plain; version=", head)
            return samples(body)

        with ScriptedBrowser(gateway.console_url(self.target.port)) as browser:
            browser.open_console()
            browser.write(bytes(1000))
            browser.read(1000)
            found = scrape()
            self.assertEqual(found["vncproxy_sessions"], 1)
            self.assertEqual(found["vncproxy_bytes_total{to=client}"], 1028)
            self.assertEqual(found["vncproxy_bytes_total{to=server}"], 1001)
        with ScriptedBrowser(f"{gateway.url}/console?path=%3Ftoken%3D{_BAD_TOKEN}") as refused:
            refused.read_refusal()
        ended = "vncproxy_sessions_ended_total{reason=client-closed}"
        self.assertTrue(becomes_true(lambda: scrape()[ended] == 1))
        found = scrape()
        self.assertEqual(found["vncproxy_refusals_total{reason=token-invalid}"], 1)
        for phase in ("token", "connect", "handshake", "all"):
            self.assertEqual(found[f"vncproxy_setup_seconds_count{{phase={phase}}}"], 1)
        self.assertGreaterEqual(found["vncproxy_call_seconds_count{service=database}"], 2)
        self.assertGreater(found["process_resident_memory_bytes"], 1e6)
        self.assertEqual(found["vncproxy_limit{option=max_unauthenticated}"], 1000)
        self.assertIn(b"404 Not Found", get(path, "/"))
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{gateway.url}/metrics")
        self.assertEqual(caught.exception.code, 404)

    def test_bytes_that_wait(self) -> None:
        """What a browser does not take is seen to wait; it is much less than what there is."""
        path = self.socket_path()
        gateway = self.gateway(metrics_listen=f"unix:{path}")
        flood = FakeTarget(fake_targets.flood)
        self.addCleanup(flood.stop)

        def waiting() -> float:
            return samples(get(path, "/metrics").partition(b"\r\n\r\n")[2])[
                "vncproxy_buffered_bytes"
            ]

        with ScriptedBrowser(gateway.console_url(flood.port)) as browser:
            browser.open_console()
            self.assertTrue(becomes_true(lambda: 0 < waiting() < 2_000_000))
            browser.socket.socket.shutdown(socket.SHUT_RDWR)
        self.assertTrue(becomes_true(lambda: waiting() == 0))

    def socket_path(self) -> Path:
        """Return a short path for a UNIX socket."""
        path = Path(tempfile.mkdtemp(prefix="vncproxy-test-"), "metrics.sock")
        self.addCleanup(shutil.rmtree, path.parent)
        return path

    def test_a_full_disk(self) -> None:
        """A full disk under the audit log is loud; consoles open, and lines come back with room."""
        link = Path(self.mktemp()).absolute()
        link.symlink_to("/dev/full")
        gateway = Gateway({"audit_log": link})
        url = gateway.console_url(self.target.port)
        with ScriptedBrowser(url) as browser:
            browser.open_console()
            gateway.program.wait_for("the audit log can't be written: No space left on device")
            link.unlink()
        gateway.program.wait_for("the audit log is written again; 1 lines are lost")
        self.assertEqual([line["event"] for line in gateway.audit()], ["ended"])
        gateway.stop()

    def test_no_console_without_audit(self) -> None:
        """With audit_required nobody gets in until a line can be written again: nor the first."""
        link = Path(self.mktemp()).absolute()
        link.symlink_to("/dev/full")
        gateway = Gateway({"audit_log": link, "audit_required": True})
        self.addCleanup(gateway.stop)
        url = gateway.console_url(self.target.port)
        for _ in range(2):
            with ScriptedBrowser(url) as refused:
                self.assertIn("can't record sessions now", refused.read_refusal())
        self.assertEqual(self.target.connections, 0)
        link.unlink()
        with ScriptedBrowser(url) as refused:
            refused.read_refusal()  # its line is written
        with ScriptedBrowser(url) as browser:
            self.assertEqual(browser.open_console(), fake_targets.SERVER_INIT)

    def test_rotation(self) -> None:
        """A moved audit log is followed by a new one, without a signal."""
        gateway = self.gateway()
        url = gateway.console_url(self.target.port)
        for _ in range(2):
            with ScriptedBrowser(url) as browser:
                browser.open_console()
            self.assertTrue(becomes_true(lambda: len(gateway.audit()) == 2))
            log = gateway.directory / "audit.log"
            log.rename(log.with_suffix(".1"))
        self.assertEqual(gateway.audit(), [])

    def test_mistakes(self) -> None:
        """What can't be opened ends the start with one line."""
        for option, value, said in [
            ("audit_log", "/no/such/audit.log", "audit_log: can't write /no/such/audit.log"),
            ("audit_required", "true", "audit_required: there is no audit log"),
            ("metrics_listen", "tcp:x", "metrics_listen: 'tcp:x' can't be used"),
            ("target_networks", "10.0.0.0/33", "target_networks: "),
            ("target_networks", "", "target_networks: it is empty"),
            ("target_ports", "vnc", "target_ports: 'vnc' is no port"),
        ]:
            path = Path(self.mktemp()).absolute()
            path.write_text(f"[vncproxy]\nstate_path = {path}.state\n{option} = {value}\n")
            command = [*TWISTD, "-n", "--pidfile=", "vncproxy", "--config-file", str(path)]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            self.assertEqual(ended.returncode, 1, ended.stderr)
            self.assertIn(f"vncproxy: [vncproxy] {said}", ended.stderr)
            self.assertEqual(len(ended.stderr.splitlines()), 1)
