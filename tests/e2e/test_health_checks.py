"""What balancers ask of each listener: HAProxy's own checks, openstack-ansible's, and by hand."""

from __future__ import annotations

import csv
import re
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.certificates import write_certificate
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.handmade import PATIENCE_S, open_console
from tests.e2e.programs import (
    Gateway,
    Program,
    becomes_true,
    free_port,
    require,
    temporary_directory,
)

_OSA = r"option httpchk HEAD {} HTTP/1.0\r\nUser-agent:\ osa-haproxy-healthcheck"
# HAProxy 3.0 wants the same bytes to be asked for in other words.
_HIDDEN_HEADER = re.compile(r"httpchk (\S+) (\S+) (HTTP/1.0)\\r\\n([\w-]+):\\ (\S+)")
_SENT_HEADER = r"httpchk\n http-check send meth \1 uri \2 ver \3 hdr \4 \5"
_NEWER_OSA = (
    "option httpchk\n http-check send hdr User-Agent osa-haproxy-healthcheck meth HEAD uri {}"
)
_OLDEST = "option httpchk"
_ONLY_200 = "\n http-check expect status 200"
_OF_READYZ = (
    "option httpchk\n http-check send meth GET uri {} ver HTTP/1.1 hdr Host console" + _ONLY_200
)

# By listener: HAProxy's lines of a backend.
_CHECKS = {
    "consoles": [
        *(
            form.format(path) + _ONLY_200
            for form in (_OSA, _NEWER_OSA)
            for path in ("/vnc.html", "/")
        ),
        _OSA.format("/vnc_auto.html") + _ONLY_200,
        _OF_READYZ.format("/readyz"),
        _OF_READYZ.format("/healthz"),
        "option httpchk GET /readyz",
        _OLDEST,
        "",  # a connection, and nothing said
    ],
    "serial": [form.format("/") + _ONLY_200 for form in (_OSA, _NEWER_OSA)]
    + [_OLDEST, "option httpchk GET /readyz"],
    "spice": [form.format("/spice_auto.html") + _ONLY_200 for form in (_OSA, _NEWER_OSA)]
    + [_OLDEST, "option httpchk GET /readyz"],
    "api": [
        _OSA.format("/"),
        _NEWER_OSA.format("/"),
        _OLDEST,
        "option httpchk GET /healthz",
        _OF_READYZ.format("/healthz"),
    ],
    "metrics": [
        _OSA.format("/healthz") + _ONLY_200,
        "option httpchk HEAD /metrics",
        "option httpchk GET /metrics",
        _OLDEST,
    ],
}
_PATHS = {
    "consoles": [
        *("/", "/console", "/vnc.html", "/console-limits", "/core/rfb.js", "/healthz", "/readyz"),
        *("/?token=unknown", "/none"),
    ],
    "serial": ["/", "/healthz", "/readyz", "/?token=unknown", "/none"],
    "spice": ["/", "/spice_auto.html", "/healthz", "/readyz", "/?token=unknown"],
    "api": ["/", "/v2.1/", "/v2.1/servers", "/v2.1/servers/none", "/healthz", "/none"],
    "metrics": ["/metrics", "/healthz", "/", "/none"],
}
_CHECKED = re.compile(r"UP L|DOWN")  # the first word is UP before there was a check
_OF_ONE_ANSWER = re.compile(rb"(?im)^(?:date|x-openstack-request-id|x-compute-request-id): .*\r\n")


class EveryKindTestCase(SynchronousTestCase):
    """A gateway with a listener of each kind."""

    def setUp(self) -> None:
        require("/usr/share/spice-html5/spice_auto.html")
        self.directory = Path(tempfile.mkdtemp(prefix="vncproxy-test-"))
        self.addCleanup(self.directory.rmdir)
        inventory = self.directory / "servers.yaml"
        inventory.write_text("servers: []\n")
        self.addCleanup(inventory.unlink)
        self.ports = {kind: free_port() for kind in _PATHS if kind != "consoles"}
        here = {kind: f"tcp:{port}:interface=127.0.0.1" for kind, port in self.ports.items()}
        self.gateway = Gateway(
            {
                "consoles": "novnc, serial, spice-html5",
                "listen_serial": here["serial"],
                "listen_spice": here["spice"],
                "api_listen": here["api"],
                "metrics_listen": here["metrics"],
                "compute_driver": "inventory",
                "inventory_file": inventory,
                "api_auth": "none",
            }
        )
        self.addCleanup(self.gateway.stop)
        self.ports["consoles"] = self.gateway.port
        self.gateway.program.wait_for(f"listening on .*tcp:{self.ports['api']}:")

    def answer(self, kind: str, request: str) -> bytes:
        """Return all that is answered to these lines."""
        with socket.create_connection(("127.0.0.1", self.ports[kind]), PATIENCE_S) as connection:
            connection.sendall(request.replace("\n", "\r\n").encode() + b"\r\n\r\n")
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        return answer

    def assert_quiet(self, worth: str = "HEAD|#warn|#error|Traceback") -> None:
        """Check that nothing of all that was worth a warning."""
        for line in self.gateway.log.splitlines():
            self.assertNotRegex(line, worth)


class FormTests(EveryKindTestCase):
    def test_head(self) -> None:
        """Of every resource HEAD has a GET's headers, no body, and no line in the log."""
        for kind, paths in _PATHS.items():
            for path in paths:
                rest = f"{path} HTTP/1.1\nHost: localhost\nConnection: close"
                head, _, body = self.answer(kind, f"GET {rest}").partition(b"\r\n\r\n")
                self.assertTrue(body, path)
                only, _, nothing = self.answer(kind, f"HEAD {rest}").partition(b"\r\n\r\n")
                self.assertEqual(nothing, b"", path)
                if path != "/?token=unknown":  # whose answer has a name of its own
                    self.assertEqual(self.of_any(only), self.of_any(head), path)
        self.assert_quiet("HEAD|#error|Traceback")  # unknown tokens are worth one

    def of_any(self, head: bytes) -> list[bytes]:
        """Return the lines of an answer's head, without those that belong to one answer."""
        text = _OF_ONE_ANSWER.sub(b"", head + b"\r\n")
        return sorted(
            re.sub(rb"(?i)^(content-length: )\d+$", rb"\1", it) for it in text.split(b"\r\n")
        )

    def test_a_target_in_absolute_form(self) -> None:
        """It is the same as its path (RFC 9112 §3.2.2), whatever it names; so is a WebSocket's."""
        for kind, paths in _PATHS.items():
            for path in paths:
                rest = "HTTP/1.1\nHost: localhost:99\nConnection: close"
                status = self.answer(kind, f"GET {path} {rest}")[:12]
                for scheme in ("http", "HTTPS"):
                    whole = self.answer(kind, f"GET {scheme}://localhost:99{path} {rest}")
                    self.assertEqual(whole[:12], status, path)
                other = self.answer(kind, f"GET http://other{path} {rest}")
                self.assertEqual(other[:12], b"HTTP/1.1 400", path)
        target = FakeTarget(fake_targets.echo)
        self.addCleanup(target.stop)
        token = self.gateway.console_url(target.port)[-36:]
        with socket.create_connection(("127.0.0.1", self.gateway.port), PATIENCE_S) as connection:
            open_console(connection, f"http://gateway/?token={token}")

    def test_http_1_0(self) -> None:
        """Without a Host everything is answered as with one."""
        for kind, paths in _PATHS.items():
            for path in paths:
                rest = "HTTP/1.1\nHost: localhost\nConnection: close"
                status = self.answer(kind, f"GET {path} {rest}")[9:12]
                self.assertEqual(self.answer(kind, f"GET {path} HTTP/1.0")[9:12], status, path)
                self.assertIn(status, (b"200", b"300", b"401", b"404"), path)

    def test_options(self) -> None:
        """The oldest health check there is; it lets no foreign page in."""
        for kind in _PATHS:
            answer = self.answer(kind, "OPTIONS / HTTP/1.0\nOrigin: http://evil.example")
            self.assertTrue(answer.startswith(b"HTTP/1.0 204 "), answer)
            self.assertIn(b"Allow: GET, HEAD, OPTIONS\r\n", answer)
            self.assertNotIn(b"Access-Control", answer)


class Checked(NamedTuple):
    """A server that HAProxy is to find up.

    Attributes:
        name: of its backend.
        port: of loopback.
        check: lines of the backend.
        options: more of the server's line.
    """

    name: str
    port: int
    check: str
    options: str = ""


def states_by_haproxy(servers: Sequence[Checked]) -> dict[str, str]:
    """Return, by name, whether a real HAProxy finds each up, and what its check got."""
    require("haproxy")
    with temporary_directory() as directory:
        config, control = directory / "haproxy.cfg", directory / "control"
        lines = [
            *("global", f" stats socket {control} level admin", "defaults", " mode http"),
            *(" timeout connect 5s", " timeout client 5s", " timeout server 5s"),
            *(" timeout check 10s", "frontend unused", f" bind 127.0.0.1:{free_port()}"),
        ]
        newer = _major_version() >= 3
        for name, port, check, options in servers:
            said = _HIDDEN_HEADER.sub(_SENT_HEADER, check) if newer else check
            lines += [f"backend {name}", f" {said}"]
            lines.append(f" server node 127.0.0.1:{port} check inter 200 rise 3 fall 1 {options}")
        config.write_text("\n".join([*lines, ""]))
        haproxy = Program(["haproxy", "-db", "-f", str(config)])
        try:
            assert becomes_true(control.exists), haproxy.output
            found: dict[str, str] = {}

            def all_checked() -> bool:
                found.update(_states(control))
                return all(_CHECKED.match(found[server.name]) for server in servers)

            assert becomes_true(all_checked), found
            return found
        finally:
            haproxy.stop()


def _major_version() -> int:
    """Return the first number of HAProxy's version."""
    said = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"version (\d+)", said)
    assert version is not None, said
    return int(version[1])


def _states(control: Path) -> dict[str, str]:
    """Ask HAProxy what its last checks found."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(control))
        connection.sendall(b"show stat\n")
        with connection.makefile() as answer:
            text = answer.read()
    return {
        row["pxname"]: f"{row['status']} {row['check_status']} {row['check_code']}"
        for row in csv.DictReader(text.removeprefix("# ").splitlines())
        if row["svname"] == "node"
    }


class HaproxyTests(EveryKindTestCase):
    def test_checks(self) -> None:
        """A real HAProxy finds each listener up, by each form of check, and the log is quiet."""
        found = states_by_haproxy(
            [
                Checked(f"{kind}{number}", self.ports[kind], check)
                for kind, checks in _CHECKS.items()
                for number, check in enumerate(checks)
            ]
        )
        down = {name: state for name, state in found.items() if not state.startswith("UP ")}
        self.assertEqual(down, {})
        self.assert_quiet()


class OtherListenersTests(SynchronousTestCase):
    def test_tls_and_the_proxy_protocol(self) -> None:
        """HAProxy's checks by TLS, and with its PROXY header, whose command is then LOCAL."""
        options = {
            "https:": "check-ssl verify none",
            "haproxy:": "check-send-proxy send-proxy-v2",
            "haproxy:https:": "check-ssl verify none check-send-proxy send-proxy-v2",
        }
        ports = {words: free_port() for words in options}
        listen = "".join(f"listen = {it}tcp:{ports[it]}:interface=127.0.0.1\n" for it in ports)
        here = f"http://127.0.0.1:{free_port()}/console"
        with temporary_directory() as directory:
            write_certificate(cert := directory / "cert.pem")
            gateway = Gateway(
                {"trusted_proxies": "127.0.0.1"},
                cert=cert,
                more=f"{listen}[vnc]\nnovncproxy_base_url = {here}\n",
            )
            self.addCleanup(gateway.stop)
            gateway.program.wait_for(f"listening on .*tcp:{ports['haproxy:https:']}:")
            check = _OSA.format("/vnc.html") + _ONLY_200
            found = states_by_haproxy(
                [
                    Checked(f"b{number}", ports[words], check, options[words])
                    for number, words in enumerate(options)
                ]
            )
        self.assertEqual({state.split()[0] for state in found.values()}, {"UP"}, found)
