"""Who is let into the console API of a running gateway, and what others learn from it."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import socket
import ssl
import tempfile
import threading
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.certificates import Issued, issue
from tests.e2e.fake_keystone import FakeKeystone
from tests.e2e.handmade import connect
from tests.e2e.pressure import Pressure
from tests.e2e.programs import Gateway, becomes_true, free_port
from tests.e2e.test_origins import answer

_WEB = "11111111-1111-4111-8111-111111111111"
_DB = "22222222-2222-4222-8222-222222222222"
_CONSOLE = {"remote_console": {"protocol": "vnc", "type": "novnc"}}


class AccessTestCase(SynchronousTestCase):
    """A gateway whose API knows two servers, web and db; neither has a screen."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vncproxy-test-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.callers = self.directory / "callers.conf"
        self.callers.write_text("[nobody]\ncertificate = CN=nobody\n")
        self.port = free_port()
        self.tls: ssl.SSLContext | None = None

    def start(self, auth: str, more: str = "", **options: object) -> Gateway:
        """Start the gateway; it ends with the test."""
        inventory = self.directory / "servers.yaml"
        inventory.write_text(
            f"servers:\n- {{name: web, id: {_WEB}, consoles: {{novnc: '127.0.0.1:1'}}}}\n"
            f"- {{name: db, id: {_DB}, consoles: {{novnc: '127.0.0.1:1'}}}}\n"
        )
        settings = {
            "compute_driver": "inventory",
            "inventory_file": inventory,
            "api_callers_file": self.callers,
            "api_auth": auth,
            "api_listen": f"tcp:{self.port}:interface=127.0.0.1",
            **options,
        }
        (self.directory / "more.conf").write_text(more)
        config = ("--debug", "--config-file", str(self.directory / "more.conf"))
        gateway = Gateway(settings, config)
        self.addCleanup(gateway.stop)
        gateway.program.wait_for(f"listening on tcp:{self.port}")
        return gateway

    def caller(self, gateway: Gateway, *arguments: str) -> str:
        """Let somebody in; return their token."""
        done = gateway.command("api-token", "create", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def ask(
        self,
        path: str = "/v2.1/servers",
        token: str | None = None,
        body: object = None,
        **headers: str,
    ) -> tuple[int, dict[str, str], Any]:
        """Send a request on a connection of its own; return status, headers and JSON."""
        if self.tls is not None:
            address = ("127.0.0.1", self.port)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                *address, context=self.tls, timeout=30
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {"X-Auth-Token": token} if token is not None else {}
        named |= {"OpenStack-API-Version": "compute 2.31"}
        data = None
        if body is not None:
            data, named["Content-Type"] = json.dumps(body), "application/json"
        with contextlib.closing(connection):
            connection.request("GET" if body is None else "POST", path, data, named)
            answer = connection.getresponse()
            text = answer.read()
        return answer.status, dict(answer.headers), json.loads(text) if text else None

    def statuses(self, tokens: list[str]) -> Counter[int]:
        """Return what requests with these tokens, all sent before one is read, are answered."""
        connections = []
        for token in tokens:
            connection = socket.create_connection(("127.0.0.1", self.port), 30)
            connections.append(connection)
            head = f"GET /v2.1/servers HTTP/1.1\r\nHost: api\r\nX-Auth-Token: {token}\r\n"
            connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        found: Counter[int] = Counter()
        for connection in connections:
            with contextlib.closing(connection), connection.makefile("rb") as answer:
                found[int(answer.readline().split()[1])] += 1
        return found


class CertificateTests(AccessTestCase):
    """Real certificates, over the TLS of the API's own listener."""

    def start_with_tls(self) -> Gateway:
        self.authority = issue("CA", ca=True)
        files = {name: self.directory / f"{name}.pem" for name in ("ca", "api")}
        self.authority.write(files["ca"], self.directory / "ca.key")
        issue("127.0.0.1", issuer=self.authority).write(files["api"], files["api"])
        trusted = self.directory / "trusted.pem"
        shutil.copy(files["ca"], trusted)
        return self.start("certificate,token", api_cert=files["api"], api_client_ca=trusted)

    def as_client(self, client: Issued | None) -> None:
        """Show this certificate from now on."""
        self.tls = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        if client is not None:
            path = self.directory / "client.pem"
            client.write(path, path)
            self.tls.load_cert_chain(path)

    def test_a_certificate_without_a_subject(self) -> None:
        """Is nobody's: not the administrator's who has a token, and no certificate."""
        gateway = self.start_with_tls()
        self.callers.write_text("")
        token = self.caller(gateway, "root", "--admin")
        with self.callers.open("a") as file:
            file.write("[kim]\ncertificate = URI:spiffe://example/kim\nservers = web\n")
        self.as_client(None)
        self.assertEqual(self.ask()[0], 401)
        self.as_client(issue("", issuer=self.authority))
        self.assertEqual(self.ask()[0], 401)
        self.assertEqual(self.ask(token=token)[0], 200)
        self.as_client(issue("root", issuer=self.authority))
        self.assertEqual(self.ask()[0], 401)

    def test_other_names(self) -> None:
        """A URI, an e-mail address or a host's name says who it is, with a subject or without."""
        gateway = self.start_with_tls()
        self.callers.write_text(
            "[kim]\ncertificate = URI:spiffe://example/kim\nservers = web\n"
            "[lee]\ncertificate = email:lee@example.com\nservers = db\n"
            "[bot]\ncertificate = DNS:bot.example.com\nadmin = yes\n"
        )
        for name in ("", "somebody"):
            for identity, caller, servers in (
                (x509.UniformResourceIdentifier("spiffe://example/kim"), "kim", ["web"]),
                (x509.RFC822Name("lee@example.com"), "lee", ["db"]),
                (x509.DNSName("BOT.example.com"), "bot", ["db", "web"]),
            ):
                client = issue(name, issuer=self.authority, identities=(identity,))
                self.as_client(client)
                status, _, body = self.ask()
                self.assertEqual(status, 200, identity)
                self.assertEqual([server["name"] for server in body["servers"]], servers)
                gateway.program.wait_for(rf"req-\S+ {caller} at 127\.0\.0\.1: GET /servers: 200")
        for stranger in (
            x509.UniformResourceIdentifier("spiffe://example/kim/"),
            x509.RFC822Name("spiffe://example/kim"),
            x509.DNSName("bot.example.com.evil.example"),
        ):
            self.as_client(issue("", issuer=self.authority, identities=(stranger,)))
            self.assertEqual(self.ask()[0], 401, stranger)

    def test_an_empty_certificate_in_the_file(self) -> None:
        """Lets nobody in, and is said with its section."""
        gateway = self.start_with_tls()
        self.callers.write_text("[root]\nadmin = yes\ncertificate =\n")
        self.as_client(issue("", issuer=self.authority))
        self.assertEqual(self.ask()[0], 503)
        gateway.program.wait_for(r"api_callers_file: .*: \[root\] certificate is empty")

    def test_a_ca_that_is_not_trusted_any_more(self) -> None:
        """Who was let in by its certificate asks no more, on the connection that is open too."""
        self.assertEqual(self.second_answer(by_signal=True), b"")

    def test_a_ca_whose_file_has_changed(self) -> None:
        """The same, where the gateway notices it by itself."""
        self.assertEqual(self.second_answer(by_signal=False), b"")

    def second_answer(self, by_signal: bool) -> bytes:
        """Return the answer to a second request, of a caller whose CA was replaced before it."""
        gateway = self.start_with_tls()
        trusted = self.directory / "trusted.pem"
        self.callers.write_text("[root]\ncertificate = CN=root\nadmin = yes\n")
        self.as_client(issue("root", issuer=self.authority))
        assert self.tls is not None
        request = b"GET /v2.1/servers HTTP/1.1\r\nHost: api\r\n\r\n"
        with connect(self.port, self.tls) as connection, contextlib.suppress(OSError):
            connection.sendall(request)
            self.assertIn(b"200 OK", connection.recv(4096))
            issue("another CA", ca=True).write(trusted, self.directory / "other.key")
            if by_signal:
                gateway.program.signal(signal.SIGHUP)
            gateway.program.wait_for("new certificates are served")
            connection.sendall(request)
            return connection.recv(4096)
        return b""


class HostTests(AccessTestCase):
    def test_one_host(self) -> None:
        """A Host of another form is 400 on API and metrics, also where a WebSocket is asked for."""
        metrics = free_port()
        gateway = self.start("token", metrics_listen=f"tcp:{metrics}:interface=127.0.0.1")
        gateway.program.wait_for(f"listening on tcp:{metrics}")
        for port, target in (
            *(
                (self.port, "/"),
                (self.port, "/api-assets/servers.js"),
                (self.port, "/v2.1/servers"),
            ),
            (metrics, "/metrics"),
        ):
            for lines in ([], ["Host: a b"], ["Host: u@a"]):
                for upgrade in (False, True):
                    status, _ = answer(port, target, "Accept: text/html", *lines, upgrade=upgrade)
                    self.assertEqual(status, 400, (target, lines, upgrade))
            for host in ("a", "b"):
                status, _ = answer(port, f"http://b{target}", f"Host: {host}", upgrade=True)
                self.assertEqual(status == 400, host == "a", target)


class GuessTests(AccessTestCase):
    def test_who_guesses_behind_a_balancer(self) -> None:
        """Keeps out no one else: not one with a good token, nor others behind the balancer."""
        gateway = self.start("token", trusted_proxies="127.0.0.1")
        token = self.caller(gateway, "root", "--admin")
        guesser = {"X_Forwarded_For": "192.0.2.66"}
        answers = [self.ask(token=f"guess {number}", **guesser) for number in range(12)]
        self.assertEqual([status for status, _, _ in answers], [401] * 10 + [429] * 2)
        self.assertEqual(answers[-1][1]["Retry-After"], "1")
        self.assertEqual(self.ask(token="guess", X_Forwarded_For="192.0.2.67")[0], 401)
        self.assertEqual(self.ask(token=token, **guesser)[0], 200)
        gateway.program.wait_for(r"req-\S+ root at 192\.0\.2\.66: GET")

    def test_who_guesses_where_no_balancer_is_trusted(self) -> None:
        """Has one address, whatever it says; a good token of that address is let in."""
        gateway = self.start("token")
        token = self.caller(gateway, "root", "--admin")
        tried = [
            self.ask(token="guess", X_Forwarded_For=f"192.0.2.{number}")[0] for number in range(12)
        ]
        self.assertEqual(tried, [401] * 10 + [429] * 2)
        self.assertEqual(self.ask(token=token)[0], 200)


class KeystoneTests(AccessTestCase):
    def start_with_keystone(self, auth: str = "keystone,token", more: str = "") -> Gateway:
        self.keystone = FakeKeystone()
        self.addCleanup(self.keystone.stop)
        return self.start(auth, self.keystone.authtoken + more)

    def test_a_flood_of_bad_tokens(self) -> None:
        """Of 500 at once ten reach Keystone; who was let in before is let in meanwhile."""
        gateway = self.start_with_keystone()
        token = self.caller(gateway, "root", "--admin")
        self.keystone.good = {"kims"}
        self.assertEqual(self.ask(token="kims")[0], 200)
        with Pressure(gateway) as pressure:
            found = self.statuses([f"bad{number}" for number in range(500)])
            self.assertEqual(self.ask(token="kims")[0], 200)
            self.assertEqual(self.ask(token=token)[0], 200)
            pressure.wait_for_answers(5)
        self.assertEqual(found.total(), 500)
        self.assertLessEqual(set(found), {401, 429, 503})
        asked = Counter(self.keystone.asked)
        self.assertEqual(asked.pop("kims"), 2)
        # Ten at once, and one for each second that has gone by since: a busy machine takes some.
        self.assertLess(asked.total(), 20)
        self.assertNotIn(token, asked)
        self.assertLess(pressure.grown_kb, 8 * 1024)

    def test_a_keystone_that_hangs(self) -> None:
        """Keeps nobody out whom the gateway knows by itself; others hear 503 in time."""
        gateway = self.start_with_keystone(more="http_connect_timeout = 2\n")
        token = self.caller(gateway, "root", "--admin")
        self.keystone.answering.clear()
        waiting = threading.Thread(target=lambda: found.append(self.statuses(_bad(30))))
        found: list[Counter[int]] = []
        waiting.start()
        self.assertTrue(becomes_true(lambda: len(self.keystone.asked) == 4))
        self.assertEqual(self.ask(token=token)[0], 200)
        waiting.join(30)
        self.assertEqual(found, [Counter({503: 30})])
        self.keystone.good = {"kims"}
        self.keystone.answering.set()
        self.assertTrue(becomes_true(lambda: self.ask(token="kims")[0] == 200))

    def test_a_token_that_is_revoked(self) -> None:
        """Is worthless with the next request."""
        self.start_with_keystone()
        self.keystone.good = {"kims"}
        self.assertEqual(self.ask(token="kims")[0], 200)
        self.keystone.good = set()
        self.assertEqual(self.ask(token="kims")[0], 401)


class OracleTests(AccessTestCase):
    def test_while_a_host_is_away(self) -> None:
        """Another's server answers as none does: both might be the caller's, on that host."""
        monitors = self.directory / "monitors"
        monitors.mkdir()
        gateway = self.start(
            "token", compute_driver="qmp", qmp_sockets=f"{monitors}/*", compute_timeout="0.5"
        )
        kim = self.caller(gateway, "kim", "--servers", "web*")
        root = self.caller(gateway, "root", "--admin")
        self.monitor(monitors / "up", "foreign", _DB)
        paths = ("/v2.1/servers/", "/v2.1/servers/{}/remote-consoles", "/v2.1/servers?marker=")
        for away, statuses in ((False, {404, 400}), (True, {503, 400})):
            if away:
                self.monitor(monitors / "away", None, "")
            for path in paths:
                body = _CONSOLE if "remote" in path else None
                answers = []
                for asked in ("foreign", "nothing", _DB, _WEB):
                    full = path.format(asked) if "{}" in path else path + asked
                    status, headers, found = self.ask(full, kim, body)
                    headers = {
                        name: value
                        for name, value in headers.items()
                        if name != "Date" and not value.startswith("req-")
                    }
                    answers.append((status, headers, str(found).replace(asked, "(asked)")))
                    self.assertIn(status, statuses, full)
                self.assertEqual(answers[0], answers[1])
                self.assertEqual(answers[2], answers[3])
            self.assertEqual(self.ask("/v2.1/servers/foreign", root)[0], 200)

    def monitor(self, path: Path, name: str | None, server_id: str) -> None:
        """Listen as a QEMU's monitor does; without a name it says nothing."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        self.addCleanup(listener.close)
        answers = {
            "query-name": {"name": name},
            "query-uuid": {"UUID": server_id},
            "query-status": {"status": "running"},
        }
        if name is not None:
            threading.Thread(target=_talk, args=(listener, answers), daemon=True).start()


class LogTests(AccessTestCase):
    def test_no_token_in_any_line(self) -> None:
        """However it is put into a request, to the API or to the consoles' listener."""
        gateway = self.start("token")
        root = self.caller(gateway, "root", "--admin")
        _, _, body = self.ask("/v2.1/servers/web/remote-consoles", root, _CONSOLE)
        token = body["remote_console"]["url"][-36:]
        self.assertEqual(str(uuid.UUID(token)), token)
        tokens = "os-console-auth-tokens"
        self.assertEqual(self.ask(f"/v2.1/{tokens}/{token}", root)[0], 200)
        encoded = "".join(f"%{ord(character):02X}" for character in token)
        paths = [
            *(f"/v2.1/demo/{tokens}/{token}", f"//v2.1//{tokens}//{token}", f"/x/{tokens}/{token}"),
            *(f"/v2.1/{tokens.upper()}/{token}", f"/v2.1/{tokens}/{encoded}", f"/{token}"),
            *(f"/v2.1/{tokens}%2F{token}", f"/v2.1/{tokens}/{token}/{token}", f"/console/{token}"),
            *(f"/v2.1/servers?marker={token}", f"/v2.1/servers/{token}", f"/v2.1/servers/{root}"),
            *(f"/vnc.html?token={token}", f"/vnc.html%3Ftoken%3D{token}", f"/websockify/{encoded}"),
        ]
        api = self.port
        for self.port in (api, gateway.port):
            for path in paths:
                for given in (root, token, None):
                    self.ask_anything(path, given, Referer=f"http://x/?token={token}")
        gateway.program.wait_for(r"/websockify/[0-9a-f]{8}-\*\*\*")
        for secret in (token, token[9:], token.replace("-", ""), encoded, encoded[27:], root):
            self.assertNotIn(secret, gateway.log)

    def ask_anything(self, path: str, token: str | None, **headers: str) -> None:
        """Send a request whose answer may be of any kind."""
        with contextlib.suppress(ValueError):
            self.ask(path, token, **headers)


def _bad(count: int) -> list[str]:
    return [f"bad{number}" for number in range(count)]


def _talk(listener: socket.socket, answers: dict[str, object]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with contextlib.closing(connection), connection.makefile("rwb") as stream:
            stream.write(b'{"QMP": {}}\n')
            stream.flush()
            for line in stream:
                command = json.loads(line)
                answer = {"return": answers.get(command["execute"], {}), "id": command["id"]}
                stream.write(json.dumps(answer).encode() + b"\n")
                stream.flush()
