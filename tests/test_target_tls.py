"""TLS towards VNC servers: whose certificate it must be."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.certificates import issue
from vncproxy.config.read import ConfigError, read_settings
from vncproxy.consoles import target_tls_of
from vncproxy.errors import SecurityFailed
from vncproxy.rfb.reader import TlsDemand
from vncproxy.target_tls import IdentityCheck, TargetTls, TlsFiles

_CA = issue("the tests' CA", ca=True)
_SERVER = issue("kvm1", ("kvm1.example", "192.0.2.7", "2001:db8::7"), _CA)
_ITS_NAMES = ("kvm1.example", "KVM1.example", "192.0.2.7", "2001:db8::7", "2001:DB8:0::7")
_OTHERS = (
    *("kvm2.example", "192.0.2.8", "2001:db8::8", "kvm1", "example", "kvm1.example.evil.example"),
    *("/run/kvm1.example/vnc.sock", "fe80::7%eth0", "kvm1 example", "kvm_1", "1.2"),
)


class IdentityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ca = Path(self.mktemp())
        _CA.write(self.ca, Path(self.mktemp()))

    def connect(self, host: str, identity: IdentityCheck) -> None:
        """Do a handshake with the server, dialled by this name, and check whose it is."""
        files = TlsFiles(str(self.ca), None, None)
        client = TargetTls(files, identity).client(host, TlsDemand.X509)
        ours = client.clientConnectionForTLS(None)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(crypto.X509.from_cryptography(_SERVER.certificate))
        context.use_privatekey(crypto.PKey.from_cryptography_key(_SERVER.key))
        theirs = SSL.Connection(context, None)
        ours.set_connect_state()
        theirs.set_accept_state()
        for _ in range(4):
            for mine, other in ((ours, theirs), (theirs, ours)):
                with contextlib.suppress(SSL.WantReadError):
                    mine.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(mine.bio_read(65536))
        client.check_identity(ours)

    def test_its_own(self) -> None:
        """A certificate is for each of its subjectAltNames."""
        for host in _ITS_NAMES:
            self.connect(host, "require")

    def test_another_s(self) -> None:
        """With require any other target is refused, also one that is no name at all."""
        for host in _OTHERS:
            with self.assertRaises(SecurityFailed, msg=host) as caught:
                self.connect(host, "require")
            self.assertIn("is not for", str(caught.exception))

    def test_a_warning(self) -> None:
        """With warn, and with off, the session goes on."""
        for host in _OTHERS:
            self.connect(host, "warn")
            self.connect(host, "off")

    def test_servers_without_a_certificate(self) -> None:
        """Anonymous TLS and the demand for an identity are a contradiction, told at the start."""
        settings = read_settings([], "vncproxy")
        for scheme in ("tlsnone", "tlsvnc", "tlsplain"):
            asked = replace(
                settings,
                vnc=replace(settings.vnc, auth_schemes=("vencrypt", scheme)),
                targets=replace(settings.targets, target_identity="require"),
            )
            with self.assertRaisesRegex(ConfigError, rf"target_identity: .* with {scheme}"):
                target_tls_of(asked)
            target_tls_of(replace(asked, targets=settings.targets))
