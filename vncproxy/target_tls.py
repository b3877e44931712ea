"""TLS towards the consoles' servers: our certificate, whom we trust, and whose certificate it is.

Nova checks that a VNC server's certificate comes from its CA, and not whose it is, so that any
compute host can pose as any other. Here the name can be checked too.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import service_identity.pyopenssl
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from vncproxy.errors import SecurityFailed
from vncproxy.openssl import openssl_text
from vncproxy.rfb.reader import TlsDemand

IdentityCheck = Literal["off", "warn", "require"]

# OpenSSL's X509_V_ERR_ numbers; pyOpenSSL has no names for them.
_FAULTS = {
    9: "is not valid yet",
    10: "has expired",
    18: "is self-signed",
    19: "has a self-signed certificate above it that is not in vencrypt_ca_certs",
    20: "was not issued by a CA of vencrypt_ca_certs",
    21: "was not issued by a CA of vencrypt_ca_certs",
    26: "may not be used for this purpose",
}


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the CAs whose servers we trust, and who we are; the latter may be absent."""

    ca_certs: str | None
    client_cert: str | None
    client_key: str | None

    def fingerprint(self) -> Sequence[object]:
        """Return something that differs when one of the files has changed."""
        found: list[object] = []
        for path in (self.ca_certs, self.client_cert, self.client_key):
            if path:
                status = os.stat(path)
                found.append((path, status.st_mtime_ns, status.st_size, status.st_ino))
        return found


class TargetTls:
    """Makes the TLS connections to consoles' servers.

    Args:
        files: read when they are first needed, and again when they have changed.
        identity: whether the certificate must be for the host that we dialled: ``off`` (nova),
            ``warn`` or ``require``.
    """

    _log = Logger()

    def __init__(self, files: TlsFiles, identity: IdentityCheck) -> None:
        self._files = files
        self._identity = identity
        self._context: SSL.Context | None = None
        self._made_from: Sequence[object] = ()

    def client(self, host: str, demand: TlsDemand) -> TlsClient:
        """Return our side of one connection's TLS.

        Args:
            host: name or address that was dialled.
            demand: with certificates, or anonymous: encrypted to nobody in particular.

        Raises:
            SecurityFailed: the certificates' files can't be used; the text says which and why.
        """
        if demand is TlsDemand.ANONYMOUS:
            self._log.warn("TLS to {host} is anonymous, so it can be intercepted", host=host)
            return TlsClient(_anonymous_context(), host, "off")
        return TlsClient(self._current_context(), host, self._identity)

    def _current_context(self) -> SSL.Context:
        if not self._files.ca_certs:
            raise SecurityFailed(
                "TLS with certificates needs the CA of the VNC servers: set [vnc] vencrypt_ca_certs"
            )
        try:
            made_from = self._files.fingerprint()
            if self._context is None or made_from != self._made_from:
                self._context, self._made_from = self._load(self._files.ca_certs), made_from
        except OSError as error:
            raise SecurityFailed(
                f"{error.filename}: {error.strerror}; see [vnc] vencrypt_*"
            ) from error
        return self._context

    def _load(self, ca_certs: str) -> SSL.Context:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_verify(SSL.VERIFY_PEER)
        try:
            context.load_verify_locations(ca_certs)
            if self._files.client_cert and self._files.client_key:
                context.use_certificate_chain_file(self._files.client_cert)
                context.use_privatekey_file(self._files.client_key)
                context.check_privatekey()
        except SSL.Error as error:
            raise SecurityFailed(
                "vencrypt_ca_certs, vencrypt_client_cert and vencrypt_client_key can't be loaded: "
                + (openssl_text(error) or "one is no PEM file")
            ) from error
        return context


@implementer(IOpenSSLClientConnectionCreator)
class TlsClient:
    """Our side of one connection's TLS.

    Args:
        context: certificates and trust.
        host: whose certificate it must be.
        identity: what to do if it is another's.
    """

    _log = Logger()

    def __init__(self, context: SSL.Context, host: str, identity: IdentityCheck) -> None:
        self._context = context
        self._host = host
        self._identity = identity
        self._fault = ""

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """Return the connection for Twisted to do the handshake on."""
        connection = SSL.Connection(self._context, None)
        connection.set_verify(self._context.get_verify_mode(), self._note_fault)
        if not _is_address(self._host) and not self._host.startswith("/"):
            connection.set_tlsext_host_name(self._host.encode("idna"))
        return connection

    def _note_fault(
        self,
        _connection: SSL.Connection,
        certificate: crypto.X509,
        number: int,
        _depth: int,
        accepted: int,
    ) -> bool:
        """Keep why OpenSSL refuses the server's certificate."""
        if not accepted:
            subject = certificate.get_subject().CN or "without a name"
            fault = _FAULTS.get(number, f"is not accepted (OpenSSL's verification error {number})")
            self._fault = f"the certificate {subject!r} {fault}"
        return bool(accepted)

    def failure_text(self, error: BaseException | None) -> str:
        """Return what the operator should know of a TLS handshake that failed."""
        return f"TLS with the server failed: {self._fault or openssl_text(error) or error}"

    def check_identity(self, connection: SSL.Connection) -> None:
        """Check, after the handshake, that the certificate is the dialled host's.

        Raises:
            SecurityFailed: it is not, and must be.
        """
        if self._identity == "off":
            return
        try:
            if _is_address(self._host):
                service_identity.pyopenssl.verify_ip_address(connection, self._host)
            else:
                service_identity.pyopenssl.verify_hostname(connection, self._host)
        except (VerificationError, CertificateError, ValueError) as error:  # the last: no name
            text = f"the server's certificate is not for {self._host}, the host that was dialled"
            if self._identity == "require":
                raise SecurityFailed(text) from error
            self._log.warn(
                "{text}; [vncproxy] target_identity = require would refuse it", text=text
            )


def _anonymous_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)  # later versions have no anonymous suites
    context.set_cipher_list(b"aNULL:@SECLEVEL=0")
    return context


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
