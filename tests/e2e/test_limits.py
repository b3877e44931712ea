"""Limits over real sockets: five hundred connections at once, two gateways with one database."""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import tempfile
import time
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import create_engine
from twisted.trial.unittest import SynchronousTestCase
from websockets.exceptions import ConnectionClosed

from tests.e2e import fake_targets
from tests.e2e.at_once import IN_WORDS, OPEN, AtOnce
from tests.e2e.browser import ScriptedBrowser, websocket_url
from tests.e2e.certificates import write_certificate
from tests.e2e.chromium import open_page, wait_for_state
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import Gateway, XvncServer, becomes_true, require
from tests.e2e.test_watching import get
from tests.metrics.test_metrics import samples
from vncproxy.model import NO_INSTANCE
from vncproxy.tokens.issue import TokenIssuer
from vncproxy.tokens.table import TokenTable

_AT_ONCE = 500
_MACHINE = "11111111-2222-4333-8444-555555555555"


class LimitsTestCase(SynchronousTestCase):
    def gateway(self, **options: object) -> Gateway:
        gateway = Gateway(dict(options))
        self.addCleanup(gateway.stop)
        return gateway

    def setUp(self) -> None:
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)

    def socket_url(self, gateway: Gateway, *options: str) -> str:
        return websocket_url(gateway.console_url(self.target.port, *options))

    def assert_limit(self, gateway: Gateway, limit: int, refusal: str) -> None:
        """Open a console 500 times at once; check that as many open as the limit says."""
        clients = AtOnce([("127.0.0.1", self.socket_url(gateway))] * _AT_ONCE)
        clients.settle(gateway, still_open=limit)
        others = IN_WORDS if refusal.endswith("-full") else "429"
        self.assertEqual(clients.outcomes, {OPEN: limit, others: _AT_ONCE - limit})
        self.assertTrue(becomes_true(lambda: gateway.sockets() == 1))
        lines = gateway.audit()
        self.assertEqual(sum(line["event"] == "started" for line in lines), limit)
        reasons = Counter(line["reason"] for line in lines if line["event"] == "refused")
        self.assertEqual(reasons, {refusal: _AT_ONCE - limit})


class FiveHundredTests(LimitsTestCase):
    """Each limit holds its number when five hundred clients come at once."""

    def test_sessions_of_the_node(self) -> None:
        """Whoever comes too late reads that the gateway is full."""
        gateway = self.gateway(max_sessions=40, max_sessions_per_token=0)
        self.assert_limit(gateway, 40, "gateway-full")

    def test_a_full_node_says_so(self) -> None:
        """At `max_sessions` `/readyz` is 503, of one process and of two; then it is 200 again."""
        for workers in (1, 2):
            gateway = self.gateway(max_sessions=3, workers=workers)
            if workers > 1:
                gateway.program.wait_for("worker 1, .* is ready")
                gateway.program.wait_for("worker 2, .* is ready")
            url = gateway.console_url(self.target.port)

            def ready(gateway: Gateway = gateway) -> tuple[int, str]:
                connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
                connection.request("GET", "/readyz")
                with contextlib.closing(connection), connection.getresponse() as answer:
                    return answer.status, json.load(answer)["status"]

            with contextlib.ExitStack() as open_consoles:
                self.assertEqual(ready(), (200, "ready"))
                for _ in range(3):
                    open_consoles.enter_context(ScriptedBrowser(url)).open_console()
                self.assertTrue(becomes_true(lambda: ready() == (503, "full")))
                gateway.program.wait_for("not ready: 3 sessions already; see .*max_sessions")
            self.assertTrue(becomes_true(lambda: ready() == (200, "ready")))
            gateway.stop()

    def test_sessions_of_a_client_a_machine_and_a_token(self) -> None:
        """One token, one machine and one address each have so many sessions; they don't mix."""
        gateway = self.gateway(
            max_sessions_per_token=10, max_sessions_per_instance=15, max_sessions_per_client=20
        )
        of_a_token = [("127.0.0.2", self.socket_url(gateway))] * 150
        of_a_machine = [
            ("127.0.0.3", self.socket_url(gateway, f"--instance={_MACHINE}")) for _ in range(25)
        ]
        of_a_client = [
            ("127.0.0.4", self.socket_url(gateway, f"--instance={number}")) for number in range(25)
        ]
        clients = AtOnce([*of_a_token, *of_a_machine * 7, *of_a_client * 7])
        clients.settle(gateway, still_open=45)
        self.assertEqual(clients.outcomes, {OPEN: 45, IN_WORDS: 455})
        lines = gateway.audit()
        begun = Counter(line["client"] for line in lines if line["event"] == "started")
        self.assertEqual(begun, {"127.0.0.2": 10, "127.0.0.3": 15, "127.0.0.4": 20})
        refused = Counter(line["reason"] for line in lines if line["event"] == "refused")
        self.assertEqual(refused, {"token-full": 140, "instance-full": 160, "client-full": 155})

    def test_by_default(self) -> None:
        """A link opens ten consoles, a machine has fifty, and tokens for no machine any number."""
        gateway = self.gateway()
        self.assert_limit(gateway, 10, "token-full")
        before = len(gateway.audit())
        of_a_machine = [self.socket_url(gateway, f"--instance={_MACHINE}") for _ in range(15)]
        of_none = [self.socket_url(gateway) for _ in range(6)]
        clients = AtOnce([("127.0.0.1", url) for url in [*of_a_machine * 5, *of_none * 10]])
        clients.settle(gateway, still_open=110)
        self.assertEqual(clients.outcomes, {OPEN: 110, IN_WORDS: 25})
        refused = [line["reason"] for line in gateway.audit()[before:] if "reason" in line]
        self.assertEqual(refused.count("instance-full"), 25)

    def test_rate(self) -> None:
        """A client that comes too fast is refused in HTTP, when its burst is used up."""
        gateway = self.gateway(
            connection_rate=0.0001, connection_burst=40, max_sessions_per_token=0
        )
        self.assert_limit(gateway, 40, "client-too-fast")

    def test_bad_tokens(self) -> None:
        """So many bad tokens are looked up; then one more each time that a wait is over."""
        gateway = self.gateway(failed_tokens=40)
        bad = re.sub(r"token=.*", "token=bad", self.socket_url(gateway))
        clients = AtOnce([("127.0.0.1", bad)] * _AT_ONCE)
        clients.settle(gateway, still_open=0)
        reasons = Counter(line["reason"] for line in gateway.audit())
        looked_up = reasons["token-invalid"]
        self.assertIn(looked_up, range(40, 44))  # after 1, 2 and 4 s on a slow machine
        self.assertEqual(reasons["failed-tokens"], _AT_ONCE - looked_up)
        self.assertEqual(clients.outcomes, {IN_WORDS: looked_up, "429": _AT_ONCE - looked_up})


@cache
def two_gateways() -> tuple[Gateway, Gateway]:
    """Return two processes with one database, for all these tests."""
    first = Gateway({"single_use": True})
    database = f"sqlite:///{first.directory}/state/vncproxy.sqlite"
    second = Gateway({"single_use": True}, database=database)
    for gateway in (second, first):
        atexit.register(gateway.stop)
    return first, second


class SingleUseTests(LimitsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.first, self.second = two_gateways()
        for gateway in (self.first, self.second):
            self.addCleanup(gateway.audit)
        self.url = self.first.console_url(self.target.port)
        self.elsewhere = self.url.replace(str(self.first.port), str(self.second.port))

    def open_for_a_cookie(self, browser: ScriptedBrowser) -> str:
        """Open the console; return the cookie that came with it."""
        browser.open_console()
        assert browser.socket.response is not None
        cookie: str = browser.socket.response.headers["Set-Cookie"].partition(";")[0]
        for gateway in (self.first, self.second):
            gateway.secrets.append(cookie.partition("=")[2])
        return cookie

    def changes(self, sql: str) -> bool:
        """Change the uses of tokens in the database; return whether one was changed."""
        with sqlite3.connect(self.first.directory / "state/vncproxy.sqlite") as database:
            return database.execute(f"UPDATE vncproxy_token_uses {sql}").rowcount == 1

    def assert_used(self, url: str, cookie: str | None = None) -> None:
        with ScriptedBrowser(url, headers={"Cookie": cookie} if cookie else None) as browser:
            self.assertIn("This console link was used already.", browser.read_refusal())

    def test_fifty_at_two_gateways(self) -> None:
        """Of fifty clients with one token, at two gateways at once, exactly one gets in."""
        before = len(self.first.audit() + self.second.audit())
        urls = [websocket_url(url) for url in (self.url, self.elsewhere)]
        clients = AtOnce([("127.0.0.1", url) for url in urls] * 25)
        clients.settle(self.first, still_open=1)
        self.assertEqual(clients.outcomes, {OPEN: 1, IN_WORDS: 49})
        done = lambda: len(self.first.audit() + self.second.audit()) == before + 51  # noqa: E731
        self.assertTrue(becomes_true(done))

    def test_resume(self) -> None:
        """A browser whose connection broke gets its console back, at another gateway too."""
        browser = ScriptedBrowser(self.url)
        cookie = self.open_for_a_cookie(browser)
        browser.socket.socket.shutdown(socket.SHUT_RDWR)
        for url in (self.elsewhere, self.url):
            with ScriptedBrowser(url, headers={"Cookie": cookie}) as again:
                self.assertEqual(again.open_console(), fake_targets.SERVER_INIT)
                self.assert_used(self.elsewhere)
        self.assertNotIn(cookie.partition("=")[2], self.first.log + self.second.log)

    def test_the_time_to_resume_is_over(self) -> None:
        """Some time after the session's end the link is used up, for its own browser too."""
        with ScriptedBrowser(self.url) as browser:
            cookie = self.open_for_a_cookie(browser)
        a_minute_ago = "SET ended = ended - 61 WHERE running = 0 AND ended > 0"
        ours = f"{a_minute_ago} AND token_hash LIKE '{cookie[9:21]}%'"
        self.assertTrue(becomes_true(lambda: self.changes(ours)))
        self.assert_used(self.url, cookie)

    def test_a_client_that_leaves_early(self) -> None:
        """A browser that leaves before it is answered has not used its link."""
        parts = urlsplit(websocket_url(self.url))
        request = (
            f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        state = self.first.directory / "state/vncproxy.sqlite"
        before = self.first.sockets()
        with sqlite3.connect(state, isolation_level=None) as database:
            database.execute("BEGIN IMMEDIATE")  # the gateway's use of the token has to wait
            with socket.create_connection(("127.0.0.1", self.first.port)) as early:
                early.sendall(request.encode())
                self.assertTrue(becomes_true(lambda: self.first.sockets() > before))
            self.assertTrue(becomes_true(lambda: self.first.sockets() <= before))
            database.execute("COMMIT")

        def opens() -> bool:  # as soon as the late use has been undone
            with ScriptedBrowser(self.url) as browser:
                browser.write_version()
                return browser.read(1) == b"\x01"

        self.assertTrue(becomes_true(opens))


class SingleUseInChromiumTests(SynchronousTestCase):
    def test_the_page_comes_back(self) -> None:
        """By TLS and without: when its gateway has restarted, a page's used link still opens."""
        require("chromium", "Xtigervnc")
        server = XvncServer()
        self.addCleanup(server.stop)
        certificate = Path(self.mktemp()).absolute()
        write_certificate(certificate)
        for cert in (certificate, None):
            gateway = Gateway({"single_use": True}, cert=cert)
            self.addCleanup(gateway.stop)
            url = gateway.console_url(server.port)
            with open_page() as page:
                page.goto(url)
                wait_for_state(page, "connected")
                gateway.program.stop()
                wait_for_state(page, "reconnecting")
                gateway.start()
                wait_for_state(page, "connected")
            with open_page() as another:
                another.goto(url)
                wait_for_state(another, "failed")
                self.assertIn("This console link was used already.", another.inner_text("#card"))


class CrowdTests(LimitsTestCase):
    def test_slow_and_silent_connections(self) -> None:
        """Among hundreds that send nothing, or a byte, a console opens; the oldest are closed."""
        gateway = self.gateway(max_unauthenticated=50)
        url = gateway.console_url(self.target.port)
        crowd = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(300)]
        try:
            for slow in crowd[::2]:
                try:
                    slow.sendall(b"G")
                except OSError:
                    continue  # it was closed already
            with ScriptedBrowser(url) as browser:
                self.assertEqual(browser.open_console(), fake_targets.SERVER_INIT)
                self.assertTrue(becomes_true(lambda: gateway.sockets() <= 1 + 50 + 2))
                browser.write(b"still here")
                self.assertEqual(browser.read(10), b"still here")
        finally:
            for connection in crowd:
                connection.close()
        self.assertTrue(becomes_true(lambda: gateway.sockets() == 1))

    def test_a_large_body(self) -> None:
        """A request's body is not taken without end."""
        gateway = self.gateway()
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", str(10**9))
        connection.endheaders()
        with self.assertRaises(OSError):
            for _ in range(1000):
                connection.send(bytes(65536))


class WorkersTests(LimitsTestCase):
    def setUp(self) -> None:
        super().setUp()
        directory = Path(tempfile.mkdtemp(prefix="vncproxy-test-"))
        self.addCleanup(shutil.rmtree, directory)
        self.metrics = directory / "metrics.sock"
        self.processes = self.gateway(
            workers=2, max_sessions_per_token=10, metrics_listen=f"unix:{self.metrics}"
        )
        self.pids = [
            int(self.processes.program.wait_for(rf"worker {number}, process (\d+), is ready")[1])
            for number in (1, 2)
        ]
        self.url = self.processes.console_url(self.target.port)

    def test_a_limit_of_all_workers(self) -> None:
        """A limit is the node's: of a hundred at once ten get in; one scrape tells of them all."""
        clients = AtOnce([("127.0.0.1", websocket_url(self.url))] * 100)
        clients.settle(self.processes, still_open=10)
        self.assertEqual(clients.outcomes, {OPEN: 10, IN_WORDS: 90})
        answer = get(self.metrics, "/metrics")
        found = samples(answer.partition(b"\r\n\r\n")[2])
        for name, total in [
            ("vncproxy_sessions_started_total{worker=%d}", 10),
            ("vncproxy_refusals_total{reason=token-full,worker=%d}", 90),
        ]:
            self.assertEqual(sum(found[name % worker] for worker in (1, 2)), total)
        here = "vncproxy_unauthenticated_connections{listeners=metrics,worker=parent}"
        self.assertEqual(found[here], 1)  # this scrape

    def open(self) -> ScriptedBrowser:
        browser = ScriptedBrowser(self.url)
        self.addCleanup(browser.socket.socket.close)
        browser.open_console()
        return browser

    def assert_full(self) -> None:
        with ScriptedBrowser(self.url) as browser:
            self.assertIn("open too many times", browser.read_refusal())

    def test_a_worker_that_dies(self) -> None:
        """What a dead worker's sessions had is free again, and no more than that."""
        browsers = [self.open() for _ in range(10)]
        self.assert_full()
        os.kill(self.pids[0], signal.SIGKILL)
        self.processes.program.wait_for(r"worker 1, process \d+, was killed by SIGKILL")
        lost = 0
        for browser in browsers:
            try:
                browser.write(b"x")
            except ConnectionClosed:
                lost += 1
                continue
            lost += not browser.read(1)
        self.assertGreater(lost, 0)
        for _ in range(lost):
            self.open()
        self.assert_full()


class TargetTests(LimitsTestCase):
    def test_a_forbidden_target(self) -> None:
        """Consoles outside the networks and ports are refused in words, and never dialled."""
        gateway = self.gateway(target_networks="10.0.0.0/8, ::1/128", target_ports="1-65535")
        with ScriptedBrowser(gateway.console_url(self.target.port)) as browser:
            self.assertIn("may not connect to this machine's console", browser.read_refusal())
            self.assertEqual(browser.read_close()[0], 4403)
        gateway.program.wait_for("target-forbidden .*127.0.0.1 is at 127.0.0.1, where no console")

    def test_sockets(self) -> None:
        """The gateway's own tokens lead to any UNIX socket, others to those of named directories.

        Neither leads out of the directories by a link.
        """
        directory = Path(tempfile.mkdtemp(prefix="vncproxy-test-"))
        self.addCleanup(shutil.rmtree, directory)
        for name in ("consoles", "engine"):
            (directory / name).mkdir()
            target = FakeTarget(fake_targets.echo, directory / name / "vm.sock")
            self.addCleanup(target.stop)
        (directory / "consoles/link").symlink_to(directory / "engine/vm.sock")
        console, engine, link = (
            directory / name for name in ("consoles/vm.sock", "engine/vm.sock", "consoles/link")
        )
        others = f"sqlite:///{directory}/others.sqlite"
        TokenTable(create_engine(others), time.time).create()
        named: dict[str, object] = {"target_networks": f"10.0.0.0/8, {directory}/consoles"}
        unset: dict[str, object] = {}
        for options, database, allowed, forbidden in (
            (unset, None, [console, engine, link], []),
            (named, None, [console], [engine, link]),
            (unset, others, [], [console, engine, link]),
            (named, others, [console], [engine, link]),
        ):
            gateway = Gateway(options, database=database)
            self.addCleanup(gateway.stop)
            own = f"sqlite:///{gateway.directory}/state/vncproxy.sqlite"
            table = TokenTable(create_engine(database or own), time.time)
            issuer = TokenIssuer(table, time.time, {"novnc": f"{gateway.url}/console"})
            for path in [*allowed, *forbidden]:
                url = issuer.issue("novnc", str(path), 0, NO_INSTANCE, 600).url
                with ScriptedBrowser(url) as browser:
                    if path in allowed:
                        self.assertEqual(browser.open_console(), fake_targets.SERVER_INIT)
                    else:
                        self.assertIn("may not connect", browser.read_refusal())
                        self.assertEqual(browser.read_close()[0], 4403)

    def test_the_demo_works(self) -> None:
        """A network of loopback lets loopback's consoles in."""
        gateway = self.gateway(target_networks="127.0.0.0/8", target_ports=str(self.target.port))
        with ScriptedBrowser(gateway.console_url(self.target.port)) as browser:
            self.assertEqual(browser.open_console(), fake_targets.SERVER_INIT)
