"""TLS towards browsers, in memory: names, new files, broken files, clients' certificates."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import ssl
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from tests.e2e.certificates import Issued, issue
from vncproxy.config.read import ConfigError
from vncproxy.edge.certificates import TlsOptions, load_certificates
from vncproxy.edge.tls import TlsServer, client_name


class Handshake:
    """A handshake of Python's own TLS client with the server, in memory.

    Args:
        server: whose connection it is.
        name: that the client asks for.
        client: its context; None for one that verifies nothing.

    Raises:
        ssl.SSLError: the client did not like it.
        SSL.Error: the server did not like it.
    """

    def __init__(
        self, server: TlsServer, name: str | None = None, client: ssl.SSLContext | None = None
    ) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = (client or anything()).wrap_bio(incoming, outgoing, server_hostname=name)
        self.server = server.serverConnectionForTLS(None)
        self.server.set_accept_state()
        for _ in range(4):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            if outgoing.pending:
                self.server.bio_write(outgoing.read())
            with contextlib.suppress(SSL.WantReadError):
                self.server.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                incoming.write(self.server.bio_read(1 << 16))

    @property
    def served(self) -> str:
        """Common name of the certificate that the client was shown."""
        der = self.client.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).subject.rfc4514_string()


def anything() -> ssl.SSLContext:
    """Return a client's context that verifies nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class TlsTestCase(TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.now = datetime.datetime.now(datetime.UTC)

    def write(self, name: str, issued: Issued | None = None, days: int = 30) -> str:
        """Write a certificate for the name, and its key, to NAME.pem; return the path."""
        path = self.directory / f"{name}.pem"
        (issued or issue(name, (name,), days=days)).write(path, path)
        return str(path)

    def server(self, options: TlsOptions) -> TlsServer:
        return TlsServer(options, lambda: self.now)

    def said(self, level: str) -> list[str]:
        """Return the texts of a level, without this run's directory."""
        texts = [
            event["log_format"].format(**event)
            for event in self.log
            if event["log_level"].name == level
        ]
        return [text.replace(f"{self.directory}/", "") for text in texts]


class NamesTests(TlsTestCase):
    def test_a_certificate_for_each_name(self) -> None:
        """Exact names, wildcards of one label, any case; the default for the rest."""
        cert = self.write("default.example")
        more = self.directory / "more"
        more.mkdir()
        for name in ("a.example", "*.b.example", "x.b.example"):
            path = more / f"{name.replace('*', '_')}.pem"
            issue(name, (name,)).write(path, path)
        (more / "README").write_text("not a certificate")
        server = self.server(TlsOptions(cert, more=(str(more),)))
        for name, served in {
            "a.example": "CN=a.example",
            "A.Example": "CN=a.example",
            "www.b.example": "CN=*.b.example",
            "x.b.example": "CN=x.b.example",
            "b.example": "CN=default.example",
            "d.c.b.example": "CN=default.example",
            "elsewhere.example": "CN=default.example",
        }.items():
            self.assertEqual(Handshake(server, name).served, served, name)
        self.assertEqual(Handshake(server).served, "CN=default.example")

    def test_without_a_default(self) -> None:
        """The first of tls_certificates is the default where cert is not there."""
        paths = (self.write("b.example"), self.write("a.example"))
        server = self.server(TlsOptions(None, more=paths))
        self.assertEqual(Handshake(server).served, "CN=b.example")
        self.assertEqual(Handshake(server, "a.example").served, "CN=a.example")

    def test_http_1_only(self) -> None:
        """HTTP/1.1 is chosen where it is offered, and nothing where it is not."""
        server = self.server(TlsOptions(self.write("a.example")))
        for offered, chosen in (["h2", "http/1.1"], "http/1.1"), (["h2"], None), ([], None):
            context = anything()
            if offered:
                context.set_alpn_protocols(list(offered))
            self.assertEqual(
                Handshake(server, client=context).client.selected_alpn_protocol(), chosen
            )


class RenewalTests(TlsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.cert = self.write("old")
        self.tls = self.server(TlsOptions(self.cert))

    def test_a_new_file(self) -> None:
        """A changed file is noticed and served; a connection that runs keeps what it has."""
        running = Handshake(self.tls)
        issue("new").write(Path(self.cert), Path(self.cert))
        self.assertEqual(Handshake(self.tls).served, "CN=old")
        self.tls.look()
        self.assertEqual(Handshake(self.tls).served, "CN=new")
        running.server.send(b"still here")
        self.assertEqual(running.served, "CN=old")
        self.assertEqual(self.said("info"), ["new certificates are served: old.pem"])
        self.tls.look()
        self.assertEqual(len(self.said("info")), 1)

    def test_half_written(self) -> None:
        """At every length of a file that is being written the old one is served, and said so."""
        whole = Path(self.write("new")).read_bytes()
        for length in range(0, len(whole) - 1, 40):
            Path(self.cert).write_bytes(whole[:length])
            self.tls.look()
            self.assertIn(Handshake(self.tls).served, ("CN=old", "CN=new"))
        errors = self.said("error")
        self.assertGreater(len(errors), 5)
        for error in errors:
            self.assertIn("the certificates stay as they were, because old.pem", error)
        Path(self.cert).write_bytes(whole)
        self.tls.look()
        self.assertEqual(Handshake(self.tls).served, "CN=new")

    def test_an_error_is_said_once(self) -> None:
        """A file that stays broken is one line, not one at each look."""
        Path(self.cert).write_bytes(b"-----BEGIN CERTIFICATE-----\n")
        for _ in range(3):
            self.tls.look()
        self.assertEqual(len(self.said("error")), 1)
        self.tls.reload(TlsOptions(self.cert))  # SIGHUP asks anew
        self.assertEqual(len(self.said("error")), 2)

    def test_a_file_that_goes(self) -> None:
        """A removed file changes nothing but the log; it may be replaced that way."""
        os.unlink(self.cert)
        self.tls.look()
        self.assertEqual(Handshake(self.tls).served, "CN=old")
        self.assertEqual(
            self.said("error"),
            [
                "the certificates stay as they were, because old.pem: No such file or directory; "
                "see [DEFAULT] cert, [vncproxy] tls_certificates"
            ],
        )

    def test_cert_and_key_one_after_the_other(self) -> None:
        """Between the writing of two files they don't fit, and the old pair is served."""
        cert, key = self.directory / "cert", self.directory / "key"
        issue("old").write(cert, key)
        tls = self.server(TlsOptions(str(cert), str(key)))
        new = issue("new")
        new.write(cert, self.directory / "new-key")
        tls.look()
        self.assertEqual(Handshake(tls).served, "CN=old")
        self.assertIn("are no certificate with its key", self.said("error")[0])
        os.rename(self.directory / "new-key", key)
        tls.look()
        self.assertEqual(Handshake(tls).served, "CN=new")

    def test_a_directory_gets_another_file(self) -> None:
        """A certificate for a further name is served without a restart."""
        more = self.directory / "more"
        more.mkdir()
        tls = self.server(TlsOptions(self.cert, more=(str(more),)))
        self.assertEqual(Handshake(tls, "a.example").served, "CN=old")
        issue("a.example", ("a.example",)).write(more / "a.pem", more / "a.pem")
        tls.look()
        self.assertEqual(Handshake(tls, "a.example").served, "CN=a.example")


class ExpiryTests(TlsTestCase):
    def test_expired(self) -> None:
        """An expired certificate is served, and an error every day says so."""
        ended = (self.now - datetime.timedelta(days=3)).date()
        tls = self.server(TlsOptions(self.write("old", days=-3)))
        text = f"old.pem expired on {ended}, so clients refuse it; renew it"
        self.assertEqual(self.said("error"), [text])
        self.assertEqual(Handshake(tls).served, "CN=old")
        self.now += datetime.timedelta(hours=23)
        tls.look()
        self.assertEqual(len(self.said("error")), 1)
        self.now += datetime.timedelta(hours=1)
        tls.look()
        self.assertEqual(self.said("error"), [text, text])

    def test_soon(self) -> None:
        """Two weeks before, a warning."""
        tls = self.server(TlsOptions(self.write("old", days=20)))
        self.assertEqual(self.said("warn"), [])
        self.now += datetime.timedelta(days=7)
        tls.look()
        self.assertEqual(len(self.said("warn")), 1)


class ClientCertificatesTests(TlsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ca = issue("clients' CA", ca=True)
        self.ca_file = self.write("ca", self.ca)
        self.cert = self.write("gateway")

    def served(self, demand: str) -> TlsServer:
        return self.server(
            TlsOptions(self.cert, client_certificates=demand, client_ca=self.ca_file)  # type: ignore[arg-type]
        )

    def client(self, certificate: Issued | None) -> ssl.SSLContext:
        context = anything()
        if certificate is not None:
            context.load_cert_chain(self.write("client", certificate))
        return context

    def test_who_is_let_in(self) -> None:
        """A good certificate by its subject; none only where it is optional; others never."""
        good = issue("alice", issuer=self.ca)
        for demand in ("optional", "required"):
            shown = Handshake(self.served(demand), client=self.client(good))
            self.assertEqual(client_name(shown.server), "CN=alice")
            spiffe = x509.UniformResourceIdentifier("spiffe://example/alice")
            for names, shown_as in (
                ((spiffe,), "URI:spiffe://example/alice"),
                (
                    (x509.IPAddress(ipaddress.ip_address("127.0.0.1")),),
                    "a certificate without a name",
                ),
            ):
                unnamed = issue("", hosts=(), issuer=self.ca, identities=names)
                shown = Handshake(self.served(demand), client=self.client(unnamed))
                self.assertEqual(client_name(shown.server), shown_as)
            forger = issue("x\n2026 forged\x1b[2J", issuer=self.ca)
            shown = Handshake(self.served(demand), client=self.client(forger))
            self.assertEqual(client_name(shown.server), "CN=x?2026 forged?[2J")
            strangers = issue("mallory"), issue("old", issuer=self.ca, days=-1)
            for stranger in strangers:
                with self.assertRaises(SSL.Error):
                    Handshake(self.served(demand), client=self.client(stranger))
        nobody = Handshake(self.served("optional"), client=self.client(None))
        self.assertIsNone(client_name(nobody.server))
        with self.assertRaises(SSL.Error):
            Handshake(self.served("required"), client=self.client(None))
        off = Handshake(self.served("off"), client=self.client(good))
        self.assertIsNone(client_name(off.server))

    def test_the_name_of_another_certificate_lets_nobody_in(self) -> None:
        """Who asks for another host name must show the same certificate."""
        more = (self.write("a.example"),)
        tls = self.server(TlsOptions(self.cert, None, more, None, False, "required", self.ca_file))
        with self.assertRaises(SSL.Error):
            Handshake(tls, "a.example", self.client(None))
        Handshake(tls, "a.example", self.client(issue("alice", issuer=self.ca)))

    def test_a_new_ca(self) -> None:
        """The CAs are read again when their file changes."""
        tls = self.served("required")
        new_ca = issue("new CA", ca=True)
        new_ca.write(Path(self.ca_file), self.directory / "ca-key")
        tls.look()
        Handshake(tls, client=self.client(issue("bob", issuer=new_ca)))
        with self.assertRaises(SSL.Error):
            Handshake(tls, client=self.client(issue("alice", issuer=self.ca)))


class MistakesTests(TlsTestCase):
    def test_each_in_one_line(self) -> None:
        """Each names the option or the file, and what to do."""
        cert = self.write("a")
        empty = self.directory / "empty"
        empty.mkdir()
        text = self.directory / "text.pem"
        text.write_text("no PEM")
        for options, words in {
            TlsOptions("/nowhere.pem"): "/nowhere.pem: No such file or directory",
            TlsOptions(str(text)): "no certificate with its key",
            TlsOptions(None, more=(str(empty),)): "there is no certificate: ",
            TlsOptions(None, more=("/nowhere",)): "/nowhere: No such file or directory",
            TlsOptions(cert, ciphers="ROT13"): "'ROT13' names no cipher",
            TlsOptions(cert, client_certificates="required"): "set [vncproxy] tls_client_ca",
            TlsOptions(cert, client_certificates="required", client_ca="/no"): "/no: No such file",
            TlsOptions(
                cert, client_certificates="required", client_ca=str(text)
            ): "text.pem holds no PEM",
        }.items():
            error = self.assertRaises(ConfigError, load_certificates, options)
            self.assertIn(words, str(error))
            self.assertNotIn("\n", str(error))
