"""TLS towards browsers on a running gateway: OpenSSL's client probes it, certificates change."""

from __future__ import annotations

import signal
import ssl
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.certificates import issue, write_certificate
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.handmade import Console, connect, trusting
from tests.e2e.programs import Gateway, becomes_true, free_port, require

_WEAK = "ALL:@SECLEVEL=0"  # of the client, so that it is the gateway that refuses


class TlsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.cert = self.directory / "cert.pem"
        write_certificate(self.cert)

    def gateway(self, options: dict[str, object] | None = None, *flags: str) -> Gateway:
        gateway = Gateway(options, cert=self.cert, flags=flags)
        self.addCleanup(gateway.stop)
        return gateway


class ProbeTests(TlsTestCase):
    """What `openssl s_client` finds."""

    def probe(self, *options: str, says: str = "") -> str:
        """Connect, say something, and return all that was printed."""
        require("openssl")
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", *options]
        done = subprocess.run(
            command, input=says.encode(), capture_output=True, check=False, timeout=60
        )
        return (done.stdout + done.stderr).decode(errors="replace")

    def start(self, options: dict[str, object] | None = None, *flags: str) -> Gateway:
        gateway = self.gateway(options, *flags)
        self.port = gateway.port
        return gateway

    def test_versions_and_ciphers(self) -> None:
        """TLS 1.2 and 1.3 with forward secrecy, and nothing older or weaker."""
        self.start()
        for version in ("-tls1_2", "-tls1_3"):
            printed = self.probe(version)
            self.assertRegex(printed, r"Cipher is (ECDHE|TLS_AES)")
            self.assertIn("Compression: NONE", printed)
        for options in (
            ("-tls1_1", "-cipher", _WEAK),
            ("-tls1", "-cipher", _WEAK),
            ("-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"),
            ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"),
            ("-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"),
        ):
            printed = self.probe(*options)
            self.assertRegex(printed, "alert (protocol version|handshake failure)", options)
            self.assertIn("Cipher is (NONE)", printed)

    def test_renegotiation_resumption_and_alpn(self) -> None:
        """Renegotiation is refused; a ticket resumes a session; HTTP/1.1 is all that is spoken."""
        self.start()
        printed = self.probe("-tls1_2", "-cipher", "ALL", says="R\n")
        self.assertIn("RENEGOTIATING", printed)
        self.assertIn("no renegotiation", printed)
        session = str(self.directory / "session")
        self.assertIn("TLS session ticket:", self.probe("-tls1_2", "-sess_out", session))
        self.assertIn("Reused, TLSv1.2", self.probe("-tls1_2", "-sess_in", session))
        self.assertIn("ALPN protocol: http/1.1", self.probe("-alpn", "h2,http/1.1"))
        self.assertIn("No ALPN negotiated", self.probe("-alpn", "h2"))

    def test_novas_options(self) -> None:
        """`[console] ssl_minimum_version` and `ssl_ciphers` are followed."""
        gateway = self.start()
        config = gateway.config_file.read_text()
        gateway.config_file.write_text(config + "[console]\nssl_minimum_version = tlsv1_3\n")
        self.reload(gateway)
        self.assertIn("Cipher is (NONE)", self.probe("-tls1_2"))
        self.assertIn("Cipher is TLS_AES", self.probe("-tls1_3"))
        cipher = "ECDHE-ECDSA-AES256-SHA384"
        gateway.config_file.write_text(config + f"[console]\nssl_ciphers = {cipher}\n")
        self.reload(gateway)
        self.assertIn(f"Cipher is {cipher}", self.probe("-tls1_2"))

    def reload(self, gateway: Gateway) -> None:
        before = gateway.log.count("reloaded; changed:")
        gateway.program.signal(signal.SIGHUP)
        self.assertTrue(becomes_true(lambda: gateway.log.count("reloaded; changed:") > before))

    def test_names(self) -> None:
        """Each name gets its certificate, the others the default one."""
        more = self.directory / "more"
        more.mkdir()
        issue("a.example", ("a.example",)).write(more / "a.pem", more / "a.pem")
        self.start({"tls_certificates": more})
        self.assertIn("subject=CN = a.example", self.probe("-servername", "a.example"))
        self.assertIn("subject=CN = 127.0.0.1", self.probe("-servername", "b.example"))
        self.assertIn("subject=CN = 127.0.0.1", self.probe("-noservername"))

    def test_clients_certificates(self) -> None:
        """Who has none is refused; the subject of who has one stands in the log."""
        ca = issue("clients' CA", ca=True)
        ca_file, mine = self.directory / "ca.pem", self.directory / "mine.pem"
        ca.write(ca_file, self.directory / "ca-key")
        issue("alice", issuer=ca).write(mine, mine)
        gateway = self.start(
            {"tls_client_certificates": "required", "tls_client_ca": ca_file}, "--debug"
        )
        self.assertIn("alert handshake failure", self.probe("-tls1_2"))
        gateway.program.wait_for("TLS with 127.0.0.1 failed: peer did not return a certificate")
        answer = self.probe("-cert", str(mine), "-ign_eof", says="GET /?token=x HTTP/1.0\r\n\r\n")
        self.assertIn("HTTP/1.0 401", answer)
        gateway.program.wait_for(r"refused: 127\.0\.0\.1 \(CN=alice\): token-invalid")

    def test_tls_only(self) -> None:
        """With ssl_only plain HTTP gets one sentence; by TLS HSTS is said."""
        self.start(None, "--ssl_only")
        with connect(self.port) as plain:
            plain.sendall(b"GET /?token=secret HTTP/1.1\r\nHost: h\r\n\r\n")
            self.assertIn(b"TLS only. Use https://", plain.recv(999))
        printed = self.probe("-ign_eof", says="GET /healthz HTTP/1.0\r\n\r\n")
        self.assertIn("Strict-Transport-Security: max-age=31536000", printed)

    def test_both_on_one_port(self) -> None:
        """Without ssl_only plain HTTP is served too, and HSTS is not said."""
        self.start()
        with connect(self.port) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            self.assertIn(b"200 OK", plain.recv(999))
        printed = self.probe("-ign_eof", says="GET /healthz HTTP/1.0\r\n\r\n")
        self.assertIn("200 OK", printed)
        self.assertNotIn("Strict-Transport-Security", printed)


class RenewalTests(TlsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)
        self.ca = issue("CA", ca=True)
        self.ca_file = self.directory / "ca.pem"
        self.ca.write(self.ca_file, self.directory / "ca-key.pem")
        self.renew()
        self.started = self.gateway()

    def renew(self) -> int:
        """Write a new certificate by the CA; return its serial number."""
        issued = issue("127.0.0.1", issuer=self.ca)
        issued.write(self.cert, self.cert)
        return issued.certificate.serial_number

    def is_served(self, serial: int) -> bool:
        with connect(self.started.port, trusting(self.ca_file)) as connection:
            der = connection.getpeercert(binary_form=True)  # type: ignore[attr-defined]
            return x509.load_der_x509_certificate(der).serial_number == serial

    def shake_hands(self, stop: threading.Event, counts: list[int], broken: list[object]) -> None:
        """Make handshakes one after the other until told to stop; count, and keep what fails."""
        context = trusting(self.ca_file)
        while not stop.is_set():
            try:
                with connect(self.started.port, context):
                    counts[0] += 1
            except OSError as error:
                broken.append(error)

    def test_renewed_under_load(self) -> None:
        """Of the handshakes made while the certificate changes none fails, and a console lives."""
        path = f"/console?token={self.started.console_url(self.target.port)[-36:]}"
        console = Console(connect(self.started.port, trusting(self.ca_file)), path)
        stop, counts, broken = threading.Event(), [0], list[object]()
        loaders = [
            threading.Thread(target=self.shake_hands, args=(stop, counts, broken)) for _ in range(3)
        ]
        for loader in loaders:
            loader.start()
        try:
            for round_ in range(1, 6):
                serial = self.renew()
                whole = self.cert.read_bytes()
                self.cert.write_bytes(whole[: len(whole) // 2])  # half-written at a reload
                self.started.program.signal(signal.SIGHUP)
                self.wait_until(partial(self.has_refused, round_))
                self.cert.write_bytes(whole)
                self.started.program.signal(signal.SIGHUP)
                self.wait_until(partial(self.is_served, serial))
                goal = counts[0] + 10
                self.wait_until(partial(self.has_counted, counts, goal))
        finally:
            stop.set()
            for loader in loaders:
                loader.join()
        self.assertEqual(broken, [])
        self.assertTrue(console.lives())
        console.close()
        self.assertIn("the certificates stay as they were, because", self.started.log)

    def has_refused(self, times: int) -> bool:
        return self.started.log.count("the certificates stay as they were") >= times

    def has_counted(self, counts: list[int], goal: int) -> bool:
        return counts[0] >= goal

    def wait_until(self, condition: Callable[[], bool]) -> None:
        self.assertTrue(becomes_true(condition))

    def test_without_a_signal(self) -> None:
        """A changed file is found within seconds; nobody need tell."""
        serial = self.renew()
        self.wait_until(partial(self.is_served, serial))


class ApiRenewalTests(TlsTestCase):
    """The API's certificate is as the consoles': looked at, and read again at SIGHUP."""

    def setUp(self) -> None:
        super().setUp()
        self.port = free_port()
        self.api_cert = self.directory / "api.pem"
        inventory = self.directory / "servers.yaml"
        inventory.write_text("servers: []\n")
        self.options: dict[str, object] = {
            "compute_driver": "inventory",
            "inventory_file": inventory,
            "api_auth": "none",
            "api_listen": f"tcp:{self.port}:interface=127.0.0.1",
            "api_cert": self.api_cert,
        }
        self.renew()

    def renew(self) -> int:
        """Write a new certificate; return its serial number."""
        issued = issue("127.0.0.1")
        issued.write(self.api_cert, self.api_cert)
        return issued.certificate.serial_number

    def served(self) -> int:
        """Return the serial number of what the API shows."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with connect(self.port, context) as connection:
            der = connection.getpeercert(binary_form=True)  # type: ignore[attr-defined]
        return x509.load_der_x509_certificate(der).serial_number

    def is_served(self, serial: int) -> bool:
        return self.served() == serial

    def test_renewed(self) -> None:
        """Without a signal, and by one; a broken file changes nothing, and is named."""
        for workers in (1, 2):  # of several processes it is the parent that serves the API
            gateway = self.gateway({**self.options, "workers": workers})
            gateway.program.wait_for(f"listening on tcp:{self.port}")
            serial = self.renew()
            self.assertTrue(becomes_true(partial(self.is_served, serial)))
            whole = self.api_cert.read_bytes()
            self.api_cert.write_bytes(whole[:99])
            gateway.program.signal(signal.SIGHUP)
            gateway.program.wait_for(
                rf"the certificates stay as they were, because {self.api_cert}"
            )
            self.assertEqual(self.served(), serial)
            serial = self.renew()
            gateway.program.signal(signal.SIGHUP)
            self.assertTrue(becomes_true(partial(self.is_served, serial)))
            with connect(self.port) as plain:
                plain.sendall(b"GET /servers HTTP/1.1\r\nX-Auth-Token: secret\r\n\r\n")
                self.assertIn(b"TLS only", plain.recv(999))
            gateway.stop()


class RequiredTests(TlsTestCase):
    """A reload to `tls_client_certificates = required`, as one process and as several."""

    workers = 1

    def setUp(self) -> None:
        super().setUp()
        self.ca = issue("clients' CA", ca=True)
        self.ca_file, self.mine = self.directory / "ca.pem", self.directory / "mine.pem"
        self.ca.write(self.ca_file, self.directory / "ca-key")
        issue("alice", issuer=self.ca).write(self.mine, self.mine)

    def start(self, **options: object) -> None:
        self.started = self.gateway(
            {"tls_client_ca": self.ca_file, "workers": self.workers, **options}
        )
        for number in range(1, self.workers + 1) if self.workers > 1 else ():
            self.started.program.wait_for(rf"worker {number}, process \d+, is ready")

    def answered(self, port: int, certificate: Path | None = None, tls: bool = True) -> bytes:
        """Return the status line that a client is sent; nothing where TLS fails."""
        context = trusting(self.cert)
        if certificate is not None:
            context.load_cert_chain(certificate)
        try:
            with connect(port, context if tls else None) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                return connection.recv(999).partition(b"\r\n")[0]
        except OSError:
            return b""

    def answers(self) -> tuple[bytes, ...]:
        """Return what is said by plain HTTP, by TLS, and by TLS with a certificate."""
        port = self.started.port
        return (
            self.answered(port, tls=False),
            self.answered(port),
            self.answered(port, self.mine),
        )

    def demand(self, word: str) -> None:
        """Change the option, and tell the gateway."""
        lines = self.started.config_file.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("tls_client_certificates")]
        at = kept.index("[vncproxy]\n") + 1
        kept.insert(at, f"tls_client_certificates = {word}\n")
        self.started.config_file.write_text("".join(kept))
        self.started.program.signal(signal.SIGHUP)

    def test_from_then_on(self) -> None:
        """Plain HTTP and who shows none are refused; and served again when that is allowed."""
        self.start()
        ok, refused = b"HTTP/1.1 200 OK", b"HTTP/1.1 400 Bad Request"
        self.assertEqual(self.answers(), (ok, ok, ok))
        self.demand("required")
        self.wait_for((refused, b"", ok))
        self.demand("optional")
        self.wait_for((ok, ok, ok))

    def wait_for(self, answers: tuple[bytes, ...]) -> None:
        """Wait until every process answers so, which the kernel chooses from."""

        def all_do() -> bool:
            return all(self.answers() == answers for _ in range(8 if self.workers > 1 else 1))

        self.assertTrue(becomes_true(all_do), self.answers())

    def test_a_listener_that_can_not_ask(self) -> None:
        """The reload is refused with its name, and all goes on as before."""
        plain = free_port()
        self.start(consoles="novnc, serial", listen_serial=f"tcp:{plain}:interface=127.0.0.1")
        self.demand("required")
        self.started.program.wait_for(
            rf"tls_client_certificates.* not taken over, because \[vncproxy\] listen_serial: "
            rf"'tcp:{plain}:.*' can't be used: it can't ask for the certificates"
        )
        ok = b"HTTP/1.1 200 OK"
        self.assertEqual(self.answers(), (ok, ok, ok))
        self.assertEqual(self.answered(plain, tls=False), ok)


class RequiredOfWorkersTests(RequiredTests):
    workers = 2
