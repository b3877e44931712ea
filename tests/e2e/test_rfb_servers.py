"""Every VNC server that operators meet, in every security mode, shows its first picture."""

from __future__ import annotations

import os
import ssl
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.certificates import Issued, issue
from tests.e2e.chromium import open_page, save_screenshot, wait_for_state
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import (
    Gateway,
    Program,
    XvncServer,
    becomes_true,
    cannot_test,
    free_port,
    require,
)
from tests.e2e.vnc_servers import QemuServer, X11vncServer, listens, write_password_file

_PASSWORD = "pa55word"
_MISFIT = "The gateway and the machine's console could not agree on how to connect."
_NO_PASSWORD = "The gateway has no password that the machine's console accepts."
_LOCKED = "The machine's console lets nobody in for a while. Try again in a minute."
_ENDINGS = {
    _MISFIT: "target-security",
    _NO_PASSWORD: "target-password",
    _LOCKED: "target-locked",
}
_BLUE = b"\x99\x66\x33"  # xsetroot's #336699, in the order of the pixels' bytes


@cache
def authority() -> Issued:
    """Return the tests' CA."""
    return issue("the tests' CA", ca=True)


class ServerTestCase(SynchronousTestCase):
    """A test with a directory of certificates, and a gateway that accepts what the test says."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.write("ca", authority())
        self.write("client", issue("the gateway", issuer=authority()))

    def write(self, name: str, issued: Issued) -> None:
        """Write a certificate and its key under the names that QEMU wants."""
        issued.write(self.path(f"{name}-cert.pem"), self.path(f"{name}-key.pem"))

    def path(self, name: str) -> Path:
        """Return the path of a file of this test."""
        return self.directory / name

    def server_certificate(self, issued: Issued | None = None) -> tuple[str, str]:
        """Write the VNC server's certificate; return the paths of it and of its key."""
        self.write("server", issued or issue("the server", issuer=authority()))
        return str(self.path("server-cert.pem")), str(self.path("server-key.pem"))

    def xvnc(self, *options: str) -> XvncServer:
        """Start Xtigervnc with a blue screen."""
        server = XvncServer(*options)
        self.addCleanup(server.stop)
        server.run("xsetroot", "-solid", "#336699")
        return server

    def gateway(self, schemes: str, client_certificate: bool = True, **options: str) -> Gateway:
        """Start a gateway that accepts these schemes, and knows the tests' CA."""
        flags = [
            f"--vnc-auth_schemes={schemes}",
            f"--vnc-vencrypt_ca_certs={self.path('ca-cert.pem')}",
        ]
        if client_certificate:
            flags.append(f"--vnc-vencrypt_client_cert={self.path('client-cert.pem')}")
            flags.append(f"--vnc-vencrypt_client_key={self.path('client-key.pem')}")
        anonymous = "tls" in schemes.replace("x509", "")
        options = {"target_identity": "warn" if anonymous else "require", **options}
        gateway = Gateway(dict(options), tuple(flags))
        self.addCleanup(gateway.stop)
        return gateway

    def console(self, gateway: Gateway, port: int, *options: str) -> str:
        """Return the URL of a console whose password the gateway is given with the token."""
        secret = self.path("password")
        secret.write_text(_PASSWORD + "\n")
        return gateway.console_url(port, f"--password-file={secret}", *options)

    def assert_picture(self, gateway: Gateway, url: str, colour: bytes | None = _BLUE) -> None:
        """Check that the console shows its picture; what was agreed stands in the log."""
        with ScriptedBrowser(url) as browser:
            width, height, pixels = browser.first_picture()
        self.assertEqual(len(pixels), width * height * 4)
        if colour is not None:
            self.assertEqual(pixels[:3], colour)
        gateway.program.wait_for("ended after .*client-closed")
        self.assertNotIn(_PASSWORD, gateway.log)

    def assert_refused(self, gateway: Gateway, url: str, *words: str, told: str = _MISFIT) -> None:
        """Check that the tenant reads the fixed words, and the operator these."""
        before = len(gateway.log)
        with ScriptedBrowser(url) as browser:
            self.assertEqual(browser.read_refusal().partition(" (req-")[0], told)
            self.assertEqual(browser.read_close()[0], 4503 if told == _LOCKED else 4502)
        ended = rf"(?s).{{{before}}}.*ended after [^\n]*: {_ENDINGS[told]} \(([^\n]*)\);"
        log = gateway.program.wait_for(ended)[1]
        for word in words:
            self.assertIn(word, log)
        self.assertNotIn(_PASSWORD, gateway.log)
        self.assertNotIn("Traceback", gateway.log)


class XtigervncTests(ServerTestCase):
    def secured(self, security: str, *options: str) -> XvncServer:
        certificate, key = self.server_certificate()
        write_password_file(self.path("passwd"), _PASSWORD)
        return self.xvnc(
            *("-SecurityTypes", security, "-rfbauth", str(self.path("passwd"))),
            *("-X509Cert", certificate, "-X509Key", key, *options),
        )

    def test_each_security_type(self) -> None:
        """None, a password, TLS without and with certificates, without and with a password."""
        for security in ("None", "VncAuth", "TLSNone", "TLSVnc", "X509None", "X509Vnc"):
            scheme = {"VncAuth": "vnc"}.get(security, security.lower())
            server, gateway = self.secured(security), self.gateway(scheme)
            self.assert_picture(gateway, self.console(gateway, server.port))

    def test_clients_of_each_version(self) -> None:
        """Old clients see a server of today."""
        server, gateway = self.secured("X509Vnc"), self.gateway("vencrypt")
        for version in (b"003.003", b"003.007", b"003.008"):
            with ScriptedBrowser(self.console(gateway, server.port)) as browser:
                width, height, _ = browser.first_picture(version)
            self.assertEqual((width, height), (800, 600))

    def test_the_configured_order_wins(self) -> None:
        """Of what the server offers the first scheme of ours is taken, not its own first."""
        server, gateway = self.secured("None,VncAuth,X509None"), self.gateway("x509none,none")
        gateway = self.gateway("x509none,none")
        self.assert_picture(gateway, self.console(gateway, server.port))
        debug = self.debug_gateway("x509none,vnc,none")
        self.assert_picture(debug, self.console(debug, server.port))
        debug.program.wait_for("security x509none with the server")

    def debug_gateway(self, schemes: str) -> Gateway:
        ca = f"--vnc-vencrypt_ca_certs={self.path('ca-cert.pem')}"
        gateway = Gateway(flags=("--debug", f"--vnc-auth_schemes={schemes}", ca))
        self.addCleanup(gateway.stop)
        return gateway

    def test_no_downgrade(self) -> None:
        """A gateway that wants TLS takes nothing less, and says what was offered."""
        server, gateway = self.secured("None,VncAuth"), self.gateway("vencrypt")
        self.assert_refused(
            gateway, self.console(gateway, server.port), "none (1)", "allows x509none, x509vnc"
        )

    def test_anonymous_tls_must_be_named(self) -> None:
        """`vencrypt` does not mean TLS without certificates; naming it is warned about."""
        server, gateway = self.secured("TLSNone"), self.gateway("vencrypt")
        self.assert_refused(gateway, self.console(gateway, server.port), "TLSNone (257)")
        gateway = self.gateway("tlsnone")
        self.assert_picture(gateway, self.console(gateway, server.port))
        self.assertIn("is anonymous, so it can be intercepted", gateway.log)

    def test_a_wrong_password(self) -> None:
        """The server's refusal is the operator's to read."""
        for security in ("VncAuth", "X509Vnc"):
            server, gateway = self.secured(security), self.gateway("vnc,vencrypt")
            wrong = self.path("wrong")
            wrong.write_text("wrong")
            url = gateway.console_url(server.port, f"--password-file={wrong}")
            refused = "the server refused us: 'Authentication failure'"
            self.assert_refused(gateway, url, refused, told=_NO_PASSWORD)

    def test_no_password(self) -> None:
        """Without a password the log says that it is what is missing."""
        server, gateway = self.secured("VncAuth"), self.gateway("vnc")
        url = gateway.console_url(server.port)
        self.assert_refused(gateway, url, "for vnc we have no password", told=_NO_PASSWORD)

    def test_plain(self) -> None:
        """A user name and a password, inside TLS with certificates and anonymous."""
        if os.geteuid() != 0:
            cannot_test("PAM services can only be made by root")
        service = Path("/etc/pam.d") / f"vncproxy-test-{os.getpid()}"
        script = self.path("check")
        script.write_text(f'#!/bin/sh\n[ "$(cat | tr -d "\\0")" = {_PASSWORD} ]\n')
        script.chmod(0o755)
        service.write_text(
            f"auth required pam_exec.so expose_authtok quiet {script}\n"
            "account required pam_permit.so\n"
        )
        self.addCleanup(service.unlink)
        pam = (f"-PAMService={service.name}", "-PlainUsers=*")
        for security in ("X509Plain", "TLSPlain"):
            server = self.secured(security, *pam)
            gateway = self.gateway(security.lower())
            self.assert_picture(gateway, self.console(gateway, server.port, "--username=root"))
        wrong = self.path("wrong")
        wrong.write_text("wrong")
        url = gateway.console_url(server.port, f"--password-file={wrong}", "--username=root")
        self.assert_refused(gateway, url, "the server refused us", told=_NO_PASSWORD)


class ImpatientClientTests(ServerTestCase):
    """Xtigervnc lets nobody in for 10 s after 5 connections that ended before it had let us in."""

    def locking(self, security: str) -> XvncServer:
        write_password_file(self.path("passwd"), _PASSWORD)
        certificate, key = self.server_certificate()
        return self.xvnc(
            *("-SecurityTypes", security, "-rfbauth", str(self.path("passwd"))),
            *("-X509Cert", certificate, "-X509Key", key),
        )

    def unlimited(self, schemes: str) -> Gateway:
        """Start a gateway that lets a hundred in with one token."""
        return self.gateway(schemes, max_sessions_per_token="0", max_sessions_per_instance="0")

    def leave(self, url: str, said: bytes = b"") -> None:
        """Open a console, say something, and be gone."""
        browser = ScriptedBrowser(url)
        if said:
            browser.write(said)
        browser.socket.socket.close()

    def ended(self, gateway: Gateway, count: int) -> bool:
        """Return whether so many sessions have ended."""
        return gateway.log.count("ended after") == count

    def test_clients_that_leave_at_once(self) -> None:
        """After a hundred of them, in a row, an honest client sees its picture."""
        for security, schemes in (("None", "none"), ("VncAuth", "vnc"), ("X509Vnc", "vencrypt")):
            server, gateway = self.locking(security), self.unlimited(schemes)
            url = self.console(gateway, server.port)
            for number in range(100):
                self.leave(url, b"RFB 003.008\n" if number % 2 else b"")
                self.assertTrue(becomes_true(partial(self.ended, gateway, number + 1)))
            self.assertNotIn("target-locked", gateway.log)
            self.assert_picture(gateway, url)

    def test_many_that_leave_together(self) -> None:
        """The server takes five at once, and no more while it is busy with them; then all."""
        server, gateway = self.locking("VncAuth"), self.unlimited("vnc")
        url = self.console(gateway, server.port)
        with ThreadPoolExecutor(25) as pool:
            for leaving in [pool.submit(self.leave, url) for _ in range(100)]:
                leaving.result()
        self.assertTrue(becomes_true(partial(self.ended, gateway, 100)))
        self.assert_picture(gateway, url)

    def locked_out(self) -> tuple[Gateway, str]:
        """Fail until the server refuses its gateway; return that, and a URL that worked before."""
        server, gateway = self.locking("VncAuth"), self.unlimited("vnc")
        wrong = self.path("wrong")
        wrong.write_text("wrong")
        bad = gateway.console_url(server.port, f"--password-file={wrong}")
        for _ in range(4):
            self.assert_refused(gateway, bad, "Authentication failure", told=_NO_PASSWORD)
        good = self.console(gateway, server.port)

        def locked() -> bool:
            with ScriptedBrowser(bad) as browser:
                return browser.read_refusal().startswith(_LOCKED)

        self.assertTrue(becomes_true(locked))
        return gateway, good

    def test_an_address_that_is_locked_out(self) -> None:
        """Its users read that it is worth to wait; and it is."""
        gateway, url = self.locked_out()
        self.assert_refused(gateway, url, "Too many security failures", told=_LOCKED)

        def let_in() -> bool:
            with ScriptedBrowser(url) as browser:
                browser.write_version()
                return browser.read(1) == b"\1"

        self.assertTrue(becomes_true(let_in))

    def test_a_page_that_waits_for_it(self) -> None:
        """The page says why it waits, tries again by itself, and shows the console in the end."""
        require("chromium")
        _gateway, url = self.locked_out()
        with open_page() as page:
            page.goto(url)
            wait_for_state(page, "reconnecting")
            self.assertIn(_LOCKED, page.inner_text("#reason"))
            save_screenshot(page, "locked.png")
            wait_for_state(page, "connected")


class CertificateTests(ServerTestCase):
    """Servers whose certificates do not prove who they are."""

    def assert_certificate_refused(self, issued: Issued, *words: str) -> None:
        certificate, key = self.server_certificate(issued)
        server = self.xvnc(
            *("-SecurityTypes", "X509None", "-X509Cert", certificate, "-X509Key", key)
        )
        gateway = self.gateway("vencrypt")
        self.assert_refused(gateway, self.console(gateway, server.port), *words)

    def test_expired(self) -> None:
        """Its time is over."""
        expired = issue("old", issuer=authority(), days=-1)
        self.assert_certificate_refused(expired, "the certificate 'old' has expired")

    def test_self_signed(self) -> None:
        """Nobody vouches for it."""
        self.assert_certificate_refused(issue("alone"), "the certificate 'alone' is self-signed")

    def test_wrong_ca(self) -> None:
        """Somebody whom we do not trust vouches for it."""
        stranger = issue("a stranger's CA", ca=True)
        self.assert_certificate_refused(
            issue("stranger's", issuer=stranger), "was not issued by a CA of vencrypt_ca_certs"
        )

    def test_wrong_host(self) -> None:
        """It is another host's: refused, warned about, or passed over, as configured."""
        other = issue("other", ("other.example", "192.0.2.1"), authority())
        certificate, key = self.server_certificate(other)
        server = self.xvnc(
            *("-SecurityTypes", "X509None", "-X509Cert", certificate, "-X509Key", key)
        )
        words = "the server's certificate is not for 127.0.0.1, the host that was dialled"
        gateway = self.gateway("vencrypt")
        self.assert_refused(gateway, self.console(gateway, server.port), words)
        for setting, warned in (("warn", True), ("off", False)):
            gateway = self.gateway("vencrypt", target_identity=setting)
            self.assert_picture(gateway, self.console(gateway, server.port))
            self.assertEqual(words in gateway.log, warned)

    def test_a_tls_alert(self) -> None:
        """A server that demands our certificate, and gets none, says so within TLS."""
        certificate, key = self.server_certificate()
        gateway = self.gateway("vencrypt", client_certificate=False)
        for version, words in (
            (ssl.TLSVersion.TLSv1_2, "TLS with the server failed: .*alert"),
            (ssl.TLSVersion.TLSv1_3, "its security result: .*certificate required"),
        ):
            context = ssl.create_default_context(
                ssl.Purpose.CLIENT_AUTH, cafile=self.path("ca-cert.pem")
            )
            context.load_cert_chain(certificate, key)
            context.verify_mode = ssl.CERT_REQUIRED
            context.maximum_version = version
            target = FakeTarget(partial(fake_targets.vencrypt, context))
            self.addCleanup(target.stop)
            with ScriptedBrowser(gateway.console_url(target.port)) as browser:
                self.assertIn("(req-", browser.read_refusal())
            gateway.program.wait_for(f"ended after .*{words}")

    def test_a_certificate_that_changes(self) -> None:
        """The CA's file is read again when it changes, without a restart."""
        certificate, key = self.server_certificate()
        server = self.xvnc(
            *("-SecurityTypes", "X509None", "-X509Cert", certificate, "-X509Key", key)
        )
        self.write("ca", issue("a new CA", ca=True))
        gateway = self.gateway("vencrypt", client_certificate=False)
        self.assert_refused(gateway, self.console(gateway, server.port), "was not issued by")
        self.write("ca", authority())
        self.assert_picture(gateway, self.console(gateway, server.port))

    def test_files_that_are_missing(self) -> None:
        """A CA that can't be read is named."""
        certificate, key = self.server_certificate()
        server = self.xvnc(
            *("-SecurityTypes", "X509None", "-X509Cert", certificate, "-X509Key", key)
        )
        gateway = self.gateway("vencrypt")
        self.path("ca-cert.pem").unlink()
        self.assert_refused(
            gateway, self.console(gateway, server.port), "ca-cert.pem: No such file"
        )
        self.path("ca-cert.pem").write_text("nonsense")
        self.assert_refused(gateway, self.console(gateway, server.port), "can't be loaded")


class QemuTests(ServerTestCase):
    def qemu(self, vnc_options: str = "", *objects: str) -> QemuServer:
        server = QemuServer(vnc_options, objects)
        self.addCleanup(server.stop)
        return server

    def x509(self, verify_peer: str) -> str:
        """Return the `-object` with which QEMU speaks TLS with the test's certificates."""
        self.server_certificate()
        return (
            f"tls-creds-x509,id=tls,dir={self.directory},endpoint=server,verify-peer={verify_peer}"
        )

    def test_none(self) -> None:
        """QEMU as libvirt starts it by default."""
        server, gateway = self.qemu(), self.gateway("none")
        self.assert_picture(gateway, self.console(gateway, server.port), None)

    def test_password(self) -> None:
        """A password set by QMP; and a wrong one."""
        server, gateway = self.qemu(",password=on"), self.gateway("none,vnc")
        server.set_password(_PASSWORD)
        self.assert_picture(gateway, self.console(gateway, server.port), None)
        server.set_password("another")
        url = self.console(gateway, server.port)
        self.assert_refused(gateway, url, "Authentication failed", told=_NO_PASSWORD)

    def test_x509(self) -> None:
        """What OpenStack recommends: TLS, and the gateway's certificate demanded."""
        server = self.qemu(",tls-creds=tls", self.x509("on"))
        gateway = self.gateway("vencrypt")
        self.assert_picture(gateway, self.console(gateway, server.port), None)
        gateway = self.gateway("vencrypt", client_certificate=False)
        with ScriptedBrowser(self.console(gateway, server.port)) as browser:
            self.assertIn("(req-", browser.read_refusal())
        gateway.program.wait_for("target-closed .*before the server sent its security result")

    def test_x509_without_client_certificate(self) -> None:
        """TLS, where the gateway need not say who it is."""
        server = self.qemu(",tls-creds=tls", self.x509("off"))
        gateway = self.gateway("vencrypt", client_certificate=False)
        self.assert_picture(gateway, self.console(gateway, server.port), None)

    def test_x509_with_password(self) -> None:
        """Both."""
        server = self.qemu(",tls-creds=tls,password=on", self.x509("on"))
        server.set_password(_PASSWORD)
        gateway = self.gateway("vencrypt")
        self.assert_picture(gateway, self.console(gateway, server.port), None)

    def test_anonymous(self) -> None:
        """TLS without certificates, where it is named."""
        server = self.qemu(",tls-creds=tls", "tls-creds-anon,id=tls,endpoint=server")
        gateway = self.gateway("tlsnone")
        self.assert_picture(gateway, self.console(gateway, server.port), None)


class OtherServerTests(ServerTestCase):
    def test_x11vnc(self) -> None:
        """x11vnc without and with a password."""
        screen = self.xvnc()
        write_password_file(self.path("passwd"), _PASSWORD)
        for options in (("-nopw",), ("-rfbauth", str(self.path("passwd")))):
            server = X11vncServer(screen, *options)
            self.addCleanup(server.stop)
            gateway = self.gateway("none,vnc")
            self.assert_picture(gateway, self.console(gateway, server.port))

    def test_tls_from_the_first_byte(self) -> None:
        """A server in TLS, as stunnel makes one, which the file of targets names."""
        require("socat")
        server, port = self.xvnc(), free_port()
        both = self.path("both.pem")
        targets = self.path("targets.conf")
        targets.write_text("[127.0.0.1:*]\ntls = yes\n")
        for issued, words in (
            (issue("in TLS", issuer=authority()), ""),
            (issue("old", issuer=authority(), days=-1), "the certificate 'old' has expired"),
        ):
            issued.write(both, both)
            listen = f"OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,cert={both},verify=0,fork"
            socat = Program(["socat", listen, f"TCP:127.0.0.1:{server.port}"])
            self.addCleanup(socat.stop)
            self.assertTrue(becomes_true(lambda: listens(port)))
            gateway = self.gateway("none", targets_file=str(targets))
            if words:
                self.assert_refused(gateway, self.console(gateway, port), words)
            else:
                self.assert_picture(gateway, self.console(gateway, port))
            socat.stop()

    def test_a_password_of_the_targets_file(self) -> None:
        """The file is read again when it changes, and a fault in it names the line only."""
        write_password_file(self.path("passwd"), _PASSWORD)
        server = self.xvnc("-SecurityTypes", "VncAuth", "-rfbauth", str(self.path("passwd")))
        targets = self.path("targets.conf")
        targets.write_text("[127.0.0.1:*]\npassword = other\n")
        gateway = self.gateway("vnc", targets_file=str(targets))
        url = gateway.console_url(server.port)
        self.assert_refused(gateway, url, "Authentication failure", told=_NO_PASSWORD)
        targets.write_text(
            f"[127.0.0.1:{server.port}]\npassword = {_PASSWORD}\n[*]\npassword = x\n"
        )
        self.assert_picture(gateway, url)
        targets.write_text(f"[127.0.0.1:*]\n{_PASSWORD}\n")
        self.assert_refused(gateway, url, "targets.conf, line 2 is malformed")
