"""Sessions over real sockets: what the client gets, what the log says, and what is left open."""

from __future__ import annotations

import atexit
import http.client
import json
import os
import re
import socket
import sqlite3
import struct
from functools import cache
from urllib.parse import urlsplit

from twisted.trial.unittest import SynchronousTestCase
from websockets.exceptions import InvalidStatus

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser, websocket_url
from tests.e2e.fake_targets import FakeTarget, Script
from tests.e2e.programs import Gateway, becomes_true, free_port

_NEW_LINK = "This console link is not valid or has expired. Open the console again."
_NOT_READY = "The machine's console cannot be reached. Is the machine running?"
_MISFIT = "The gateway and the machine's console could not agree on how to connect."


@cache
def impatient_gateway() -> Gateway:
    """Return the gateway that all these tests share; trial has no fixtures of a class."""
    gateway = Gateway({"negotiation_timeout": 1, "connect_timeout": 1, "max_sessions_per_token": 0})
    atexit.register(gateway.stop)
    return gateway


class GatewayTestCase(SynchronousTestCase):
    """A test with a running gateway, which must have nothing open when the test has ended."""

    def setUp(self) -> None:
        self.gateway = impatient_gateway()
        self.sockets_before = 1  # the listener's
        self.log_before = len(self.gateway.log)
        self.addCleanup(self.gateway.audit)

    def target(self, script: Script) -> FakeTarget:
        """Start a scripted console for this test."""
        target = FakeTarget(script)
        self.addCleanup(target.stop)
        return target

    def console(self, script: Script) -> str:
        """Return the URL of a scripted console."""
        return self.gateway.console_url(self.target(script).port)

    def wait_for_log(self, pattern: str) -> str:
        """Return this test's log, once it matches."""
        self.gateway.program.wait_for(f"(?s).{{{self.log_before}}}.*{pattern}")
        return self.gateway.log[self.log_before :]

    def assert_ended(self, ending: str, url: str) -> str:
        """Check the last line, that nothing is left open, and that no token was logged."""
        log = self.wait_for_log(rf"(ended after [\d.]+ s|refused: 127\.0\.0\.1): {ending}\b")
        token = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}$", url)
        if token:
            self.assertNotIn(token[0], log)
        self.assertNotIn("Traceback", log)
        # The gateway reads of a client's going when its turn comes, and nobody tells us when.
        self.assertTrue(
            becomes_true(lambda: self.gateway.sockets() == self.sockets_before),
            f"{self.gateway.sockets()} sockets are open; before, {self.sockets_before}",
        )
        return log


class OpenConsoleTests(GatewayTestCase):
    def test_bytes_reach_the_other_side_and_are_counted(self) -> None:
        """What the client sends comes back from an echoing console; the log counts it."""
        url = self.console(fake_targets.echo)
        sent = os.urandom(300_000)
        with ScriptedBrowser(url) as browser:
            self.assertEqual(browser.open_console(), fake_targets.SERVER_INIT)
            browser.write(sent)
            self.assertEqual(browser.read(len(sent)), sent)
        log = self.assert_ended("client-closed", url)
        # ClientInit is a byte, and the sample ServerInit 28.
        self.assertIn("300028 bytes to the client, 300001 to the server", log)

    def test_the_console_closes(self) -> None:
        """The console's last bytes arrive, then a Close frame says who closed."""
        url = self.console(fake_targets.closes_after_init)
        with ScriptedBrowser(url) as browser:
            browser.open_console()
            self.assertEqual(browser.read(10), b"last words")
            self.assertEqual(browser.read_close(), (1000, "The machine closed the console."))
        self.assert_ended("server-closed", url)

    def test_a_pipelining_client_loses_nothing(self) -> None:
        """A client that sends its whole handshake in one message gets its console."""
        url = self.console(fake_targets.echo)
        with ScriptedBrowser(url) as browser:
            browser.write(b"RFB 003.008\n" + b"\x01" + b"\x01" + b"hello")
            answer = b"RFB 003.008\n\x01\x01\x00\x00\x00\x00" + fake_targets.SERVER_INIT + b"hello"
            self.assertEqual(browser.read(len(answer)), answer)
        self.assert_ended("client-closed", url)

    def test_rfb_33(self) -> None:
        """A console of RFB 3.3 is shown to the client as one of 3.8."""
        url = self.console(fake_targets.rfb_33)
        with ScriptedBrowser(url) as browser:
            self.assertEqual(browser.open_console(), fake_targets.SERVER_INIT)
        self.assert_ended("client-closed", url)

    def set_access_path(self, path: str) -> None:
        """Give all tokens the path of a hypervisor that wants a CONNECT."""
        with sqlite3.connect(self.gateway.directory / "state/vncproxy.sqlite") as database:
            database.execute("UPDATE console_auth_tokens SET internal_access_path = ?", (path,))

    def test_internal_access_path(self) -> None:
        """A CONNECT comes first where the token's row says so; what is behind its answer stays."""
        url = self.console(fake_targets.behind_connect)
        self.set_access_path("/console/7")
        with ScriptedBrowser(url) as browser:
            self.assertEqual(browser.open_console(), fake_targets.SERVER_INIT)
        self.assert_ended("client-closed", url)

    def test_a_wrong_internal_access_path(self) -> None:
        """The hypervisor's answer is the operator's to read."""
        url = self.console(fake_targets.behind_connect)
        self.set_access_path("/console/8")
        with ScriptedBrowser(url) as browser:
            self.assertTrue(browser.read_refusal().startswith(_NOT_READY))
        self.assertIn("404 Not Found", self.assert_ended("target-refused", url))

    def test_an_internal_access_path_without_an_answer(self) -> None:
        """Is not waited for."""
        url = self.console(fake_targets.silent)
        self.set_access_path("/console/7")
        with ScriptedBrowser(url) as browser:
            self.assertTrue(browser.read_refusal().startswith("The console took too long"))
        self.assert_ended("negotiation-timeout", url)

    def test_a_client_that_vanishes(self) -> None:
        """A client whose TCP connection ends without a Close is said to be lost."""
        url = self.console(fake_targets.echo)
        browser = ScriptedBrowser(url)
        browser.open_console()
        browser.socket.socket.shutdown(socket.SHUT_RDWR)
        self.assert_ended("client-lost", url)


class RefusedInWordsTests(GatewayTestCase):
    """What an honest user meets reaches a stock noVNC as an RFB failure with a reason."""

    def assert_refused(self, url: str, words: str, close_code: int) -> str:
        with ScriptedBrowser(url) as browser:
            reason = browser.read_refusal()
            self.assertEqual(browser.read_close(), (close_code, reason))
        said, request_id = re.fullmatch(r"(.*) \((req-[0-9a-f-]{36})\)", reason).groups()  # type: ignore[union-attr]
        self.assertEqual(said, words)
        return str(request_id)

    def assert_ended_as(self, ending: str, url: str, request_id: str) -> str:
        log = self.assert_ended(ending, url)
        self.assertIn(f"{request_id} ", log)
        return log

    def test_unknown_token(self) -> None:
        """A token that nobody issued."""
        url = (
            f"{self.gateway.url}/vnc_auto.html?path=%3Ftoken%3D00000000-dead-4bad-8bad-000000000000"
        )
        request_id = self.assert_refused(url, _NEW_LINK, 4401)
        self.assert_ended_as("token-invalid", url, request_id)

    def test_expired_token(self) -> None:
        """A token whose time has passed is told apart from an unknown one, in the log only."""
        url = self.console(fake_targets.echo)
        with sqlite3.connect(self.gateway.directory / "state/vncproxy.sqlite") as database:
            database.execute("UPDATE console_auth_tokens SET expires = 1700000000")
        request_id = self.assert_refused(url, _NEW_LINK, 4401)
        self.assert_ended_as("token-expired", url, request_id)

    def test_revoked_token(self) -> None:
        """A revoked token opens nothing."""
        url = self.console(fake_targets.echo)
        token = json.loads(self.gateway.command("token", "list", "--json").stdout)[-1]
        revoked = self.gateway.command("token", "revoke", token["id"])
        self.assertEqual((revoked.returncode, revoked.stderr), (0, ""))
        request_id = self.assert_refused(url, _NEW_LINK, 4401)
        self.assert_ended_as("token-invalid", url, request_id)

    def test_target_refuses(self) -> None:
        """Nothing listens where the console should be: the machine is off."""
        url = self.gateway.console_url(free_port())
        request_id = self.assert_refused(url, _NOT_READY, 4502)
        log = self.assert_ended_as("target-refused", url, request_id)
        self.assertIn("refused the connection", log)

    def test_target_hangs(self) -> None:
        """The console's server accepts and says nothing."""
        url = self.console(fake_targets.silent)
        words = "The console took too long to open. Try again."
        request_id = self.assert_refused(url, words, 4504)
        log = self.assert_ended_as("negotiation-timeout", url, request_id)
        self.assertIn("the console's server did not finish the RFB handshake in 1 s", log)

    def test_target_closes_at_once(self) -> None:
        """The console's server accepts and closes."""
        url = self.console(fake_targets.closes_at_once)
        words = "The machine closed its console while it was opened."
        request_id = self.assert_refused(url, words, 4502)
        self.assert_ended_as("target-closed", url, request_id)

    def test_target_sends_garbage(self) -> None:
        """Something else than a VNC server answers; the user is not told what."""
        url = self.console(fake_targets.garbage)
        request_id = self.assert_refused(url, _MISFIT, 4502)
        log = self.assert_ended_as("target-not-rfb", url, request_id)
        self.assertIn("SSH-2.0", log)

    def test_target_refuses_in_rfb(self) -> None:
        """The VNC server's own reason is the operator's to read, not the tenant's."""
        url = self.console(fake_targets.refuses)
        request_id = self.assert_refused(url, _MISFIT, 4502)
        log = self.assert_ended_as("target-security", url, request_id)
        self.assertIn("too many clients on compute-17.internal", log)

    def test_target_wants_a_password(self) -> None:
        """A security type that is not configured is refused, and the log names it."""
        url = self.console(fake_targets.wants_password)
        request_id = self.assert_refused(url, _MISFIT, 4502)
        self.assert_ended_as("target-security", url, request_id)

    def test_wrong_console_type(self) -> None:
        """A serial console's token opens nothing here."""
        url = self.console(fake_targets.echo)
        with sqlite3.connect(self.gateway.directory / "state/vncproxy.sqlite") as database:
            database.execute("UPDATE console_auth_tokens SET console_type = 'serial'")
        request_id = self.assert_refused(url, "This link opens another kind of console.", 4403)
        self.assert_ended_as("wrong-console-type", url, request_id)


class RefusedInHttpTests(GatewayTestCase):
    """What only an attacker or a broken client meets costs no WebSocket."""

    def assert_refused(self, status: int, code: str, url: str, **options: object) -> None:
        with self.assertRaises(InvalidStatus) as caught:
            ScriptedBrowser(url, **options)  # type: ignore[arg-type]
        response = caught.exception.response
        self.assertEqual(response.status_code, status)
        self.assertEqual(response.headers["Content-Type"], "application/json")
        self.assertEqual(json.loads(response.body or b"")["code"], code)
        self.assert_ended(code, url)

    def test_no_token(self) -> None:
        """Neither query nor cookie has a token."""
        self.assert_refused(401, "no-token", f"{self.gateway.url}/vnc.html?path=websockify")

    def test_wrong_origin(self) -> None:
        """A page of another site can't open the user's console."""
        url = self.console(fake_targets.echo)
        self.assert_refused(403, "origin-refused", url, origin="http://evil.example")

    def test_origin_of_another_scheme(self) -> None:
        """The page's scheme must be the one that the URL was issued for."""
        url = self.console(fake_targets.echo)
        host = urlsplit(url).netloc
        self.assert_refused(403, "origin-refused", url, origin=f"https://{host}")

    def test_malformed_handshake(self) -> None:
        """A handshake with a fault is answered 400, with the version we speak."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=10)
        self.addCleanup(connection.close)
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "99"}
        connection.request("GET", "/?token=x", headers=headers)
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.getheader("Sec-WebSocket-Version")), (400, "13"))
        self.assertIn("Sec-WebSocket-Version", json.loads(answer.read())["message"])
        connection.close()
        self.assert_ended("malformed", "")


class BadClientTests(GatewayTestCase):
    def test_garbage(self) -> None:
        """A client that does not speak RFB is told so, and the console is left alone."""
        url = self.console(fake_targets.silent)
        with ScriptedBrowser(url) as browser:
            browser.write(b"GET / HTTP/1.1\r\n\r\n")
            self.assertEqual(browser.read_close()[0], 4400)
        self.assert_ended("client-not-rfb", url)

    def test_text_frame(self) -> None:
        """Text frames are refused with 1003, as the peers do."""
        url = self.console(fake_targets.echo)
        with ScriptedBrowser(url) as browser:
            browser.open_console()
            browser.socket.send("text")
            code, reason = browser.read_close()
        self.assertEqual((code, reason), (1003, "Text frames are not supported"))
        self.assert_ended("client-protocol", url)

    def test_huge_frame(self) -> None:
        """A frame over a limit that is set is refused with 1009 before it is read."""
        target = FakeTarget(fake_targets.echo)
        self.addCleanup(target.stop)
        gateway = Gateway({"max_message_size": 1024 * 1024})
        self.addCleanup(gateway.stop)
        with ScriptedBrowser(gateway.console_url(target.port)) as browser:
            browser.open_console()
            browser.write(bytes(1024 * 1024 + 1))
            self.assertEqual(browser.read_close()[0], 1009)
        gateway.program.wait_for("ended after .*client-protocol")

    def test_silent_client(self) -> None:
        """A client that never answers is let go when the time for the negotiation is over."""
        url = self.console(fake_targets.echo)
        with ScriptedBrowser(url) as browser:
            self.assertEqual(browser.read_close()[0], 4504)
        log = self.assert_ended("negotiation-timeout", url)
        self.assertIn("the client did not finish the RFB handshake in 1 s", log)

    def opening(self, url: str) -> bytes:
        """Return an upgrade request, and the frame of the client's RFB version behind it."""
        where = urlsplit(websocket_url(url))
        request = (
            f"GET {where.path}?{where.query} HTTP/1.1\r\nHost: {where.netloc}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ).encode()
        return request + b"\x82\x8c" + bytes(4) + b"RFB 003.008\n"  # masked with zeros

    def test_a_client_that_leaves_at_each_byte(self) -> None:
        """Whether it closes or resets, wherever it is, nothing is left open, nothing is raised."""
        wire = self.opening(self.console(fake_targets.echo))
        wire += b"\x82\x81" + bytes(4) + b"\x01" + b"\x82\x81" + bytes(4) + b"\x01"
        reset = struct.pack("ii", 1, 0)
        for length in range(len(wire) + 1):
            with socket.create_connection(("127.0.0.1", self.gateway.port), 20) as connection:
                connection.sendall(wire[:length])
                if length % 2:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        self.assertTrue(becomes_true(lambda: self.gateway.sockets() == self.sockets_before))
        self.assertNotIn("Traceback", self.gateway.log[self.log_before :])

    def test_frames_in_the_request_s_segment(self) -> None:
        """Frames that come right behind the upgrade request are not lost."""
        url = self.console(fake_targets.echo)
        with socket.create_connection(("127.0.0.1", self.gateway.port), 20) as connection:
            connection.sendall(self.opening(url))
            answer = b""
            while b"\x82\x02\x01\x01" not in answer:  # the security types: our version has arrived
                answer += connection.recv(4096)
        self.assertIn(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", answer)  # RFC 6455 §1.3
        self.assert_ended("client-lost", url)
