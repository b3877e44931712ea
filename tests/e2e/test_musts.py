"""What must hold of every console: of each kind, on each path of its bytes, in one process or many.

docs/security.md has the table of these.
"""

from __future__ import annotations

import contextlib
import re
import signal
import sqlite3
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from tests.e2e import fake_targets
from tests.e2e.browser import websocket_url
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.handmade import connect
from tests.e2e.programs import becomes_true
from tests.e2e.test_consoles import ConsolesTestCase, open_socket, read_close

_KINDS = ("novnc", "serial", "spice-html5")
_RFB = b"RFB 003.008\n"
_UPGRADE = (
    "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Musts(ConsolesTestCase):
    """The tests of every branch; ``branch`` has the options that make it one."""

    branch: dict[str, object]
    processes = 1

    def start(self, groups: str = "", **options: object) -> None:
        """Start the gateway, and the consoles of each kind: they send back what they are sent."""
        rfb = FakeTarget(fake_targets.echo)
        self.addCleanup(rfb.stop)
        raw = self.echo()
        self.ports = {"novnc": rfb.port, "serial": raw, "spice-html5": raw}
        self.start_gateway(groups, **self.branch, **options)

    def link(self, kind: str, *options: str, port: int = 0) -> str:
        """Return the address of a WebSocket for a new token."""
        url = self.gateway.console_url(port or self.ports[kind], f"--type={kind}", *options)
        return websocket_url(url) if kind == "novnc" else url

    def open(self, kind: str, link: str, origin: str | None = None) -> ClientConnection:
        """Open a WebSocket, and say what the kind's client says first."""
        console = open_socket(link, origin=origin)
        self.addCleanup(console.close)
        with contextlib.suppress(ConnectionClosed):  # refused already
            console.send(_RFB if kind == "novnc" else b"hello")
        return console

    def opened(self, kind: str, link: str) -> ClientConnection:
        """Open a console, and see that it is one."""
        console = self.open(kind, link)
        stream, wanted = b"", b"hello"
        if kind == "novnc":
            console.send(b"\1")
            console.send(b"\1")
            wanted = fake_targets.SERVER_INIT
        while wanted not in stream:
            message = console.recv(30)
            assert isinstance(message, bytes)
            stream += message
        return console

    def close(self, console: ClientConnection) -> None:
        """Close a console, and see that its session has ended."""
        before = self.gateway.log.count(": client-closed")
        console.close()
        self.assertTrue(becomes_true(partial(self._logged, ": client-closed", before + 1)))

    def close_code(self, kind: str, link: str, origin: str | None = None) -> int:
        """Open a WebSocket; return the code that closes it, or the status that refuses it."""
        try:
            return read_close(self.open(kind, link, origin))[0]
        except InvalidStatus as refused:
            return refused.response.status_code

    def test_what_a_token_opens(self) -> None:
        """Targets, origins, uses, kinds, the token's time and its end: as they are configured."""
        self.start(
            "[consoleauth]\nenforce_session_timeout = true\n"
            "[console]\nallowed_origins = dashboard.example\n",
            target_ports="1024-65535",
            target_networks="127.0.0.0/9",
            max_sessions_per_token=1,
            revoke_check=0.2,
        )
        short = [self.opened(kind, self.link(kind, "--ttl=15")) for kind in _KINDS]
        long = [self.opened(kind, self.link(kind)) for kind in _KINDS]
        for number, kind in enumerate(_KINDS):
            with self.subTest(kind):
                self.assertEqual(self.close_code(kind, self.link(kind, port=22)), 4403)
                forbidden = self.link(kind, "--host=127.200.0.1")
                self.assertEqual(self.close_code(kind, forbidden), 4403)
                for origin in ("http://evil.example", r"http://evil.example\@127.0.0.1", "null"):
                    self.assertEqual(self.close_code(kind, self.link(kind), origin), 403)
                self.assertEqual(self.close_code(kind, self.link(kind) + "&token=other"), 400)
                once = self.link(kind, "--single-use")
                self.close(self.opened(kind, once))
                self.assertEqual(self.close_code(kind, once), 4401)
                wrong = self.link(_KINDS[number - 1]).rpartition("token=")[2]
                misfit = re.sub("token=.*", f"token={wrong}", self.link(kind))
                self.assertEqual(self.close_code(kind, misfit), 4403)
                if kind != "spice-html5":  # whose channels are one session
                    link = self.link(kind)
                    console = self.opened(kind, link)
                    self.assertEqual(self.close_code(kind, link), 4429)
                    self.close(console)
        self.assertEqual([read_close(console)[0] for console in short], [4401] * 3)
        with sqlite3.connect(self.gateway.directory / "state/vncproxy.sqlite") as database:
            database.execute("DELETE FROM console_auth_tokens")
        self.assertEqual([read_close(console)[0] for console in long], [4401] * 3)
        for said in (": session-expired", ": token-revoked"):
            self.assertTrue(becomes_true(partial(self._logged, said, 3)), said)
        self.assertNotIn("Traceback", self.gateway.log)

    def _logged(self, words: str, times: int) -> bool:
        return self.gateway.log.count(words) == times

    def test_bad_tokens(self) -> None:
        """A client that shows bad ones waits, at whichever listener it showed them."""
        self.start(failed_tokens=3)
        link = re.sub("token=.*", "token=bad", self.link("novnc"))
        for _ in range(3):
            self.assertEqual(self.close_code("novnc", link), 4401)
        for kind in _KINDS:
            self.assertEqual(self.close_code(kind, self.link(kind)), 429)

    def test_an_origin_that_is_taken_back(self) -> None:
        """After a reload the pages of a host that is named no more open nothing, in any process."""
        self.start("[console]\nallowed_origins = dashboard.example\n")
        file = self.gateway.config_file
        dashboard = "http://dashboard.example"
        for kind in _KINDS:
            self.open(kind, self.link(kind), dashboard).close()
        file.write_text(file.read_text().replace("dashboard.example", "other.example"))
        self.gateway.program.signal(signal.SIGHUP)
        said = "reloaded; changed: [console] allowed_origins"
        self.assertTrue(becomes_true(lambda: self.gateway.log.count(said) == self.processes))
        for kind in 4 * _KINDS:
            self.assertEqual(self.close_code(kind, self.link(kind), dashboard), 403)

    def test_no_record_no_console(self) -> None:
        """With audit_required no console is opened while its start can't be written."""
        full = Path(self.mktemp()).absolute()
        full.symlink_to("/dev/full")
        self.start(audit_log=full, audit_required=True)
        for kind in _KINDS:
            for _ in range(2):
                self.assertEqual(self.close_code(kind, self.link(kind)), 4503)
        full.unlink()

    def test_a_drain(self) -> None:
        """After SIGTERM consoles go on, and a connection from before gets no new one."""
        self.start(drain_timeout=120)
        kept = self.opened("serial", self.link("serial"))
        link = self.link("serial")
        port, target = re.fullmatch(r"http://[^:]+:(\d+)(/.*)", link).groups()  # type: ignore[union-attr]
        with connect(int(port)) as early:
            early.sendall(b"GET ")
            self.gateway.program.terminate()
            self.gateway.program.wait_for("1 consoles? may go on for 120 s")
            answer = b""
            with contextlib.suppress(ConnectionError):  # it may be gone at any time
                early.sendall(_UPGRADE.format(target=target).encode()[4:])
                while b"restarted" not in answer and (piece := early.recv(4096)):
                    answer += piece
        self.assertTrue(b"restarted" in answer or not answer, answer)
        self.assertNotIn(b"hello", answer)
        kept.send(b"still here")
        self.assertIn(b"still here", kept.recv(30))
        kept.close()


class EpollTests(Musts, SynchronousTestCase):
    """One process, with the splice on epoll."""

    branch = {"splice": "epoll"}  # noqa: RUF012


class PortableTests(Musts, SynchronousTestCase):
    """One process, with the splice on Twisted's transports."""

    branch = {"splice": "portable"}  # noqa: RUF012


class WorkersTests(Musts, SynchronousTestCase):
    """Two processes, and their parent that counts."""

    branch = {"workers": 2}  # noqa: RUF012
    processes = 3


del Musts, ConsolesTestCase  # which are no tests by themselves
