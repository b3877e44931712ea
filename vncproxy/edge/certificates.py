"""Certificates and their keys, loaded from PEM files into the contexts that serve them."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from OpenSSL import SSL, crypto

from vncproxy.config.read import ConfigError
from vncproxy.edge.key_updates import count_key_updates
from vncproxy.openssl import openssl_text

ClientCertificates = Literal["off", "optional", "required"]

_MODERN_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # for TLS 1.2; all of 1.3 are good
_VERIFY = {
    "off": SSL.VERIFY_NONE,
    "optional": SSL.VERIFY_PEER,
    "required": SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
}
_ENABLE_PARTIAL_WRITE = 1  # SSL_MODE_ENABLE_PARTIAL_WRITE, which pyOpenSSL sets and does not name
_SESSIONS = b"vncproxy"


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """What the configuration says of TLS towards clients.

    Attributes:
        cert: PEM file of the certificate for names that no other one is for; None for none.
        key: of its key; None where the key stands in ``cert``.
        more: PEM files, or directories of ``*.pem``, each with a certificate, its chain and key.
        ciphers: OpenSSL's list for TLS 1.2; None for ours.
        tls_1_3_only: whether TLS 1.2 is refused.
        client_certificates: whether clients are asked for one, or must have one.
        client_ca: PEM file of the CAs of these.
        cert_option: the options that name certificates, for errors.
        client_ca_option: the one that names the CAs.
    """

    cert: str | None
    key: str | None = None
    more: tuple[str, ...] = ()
    ciphers: str | None = None
    tls_1_3_only: bool = False
    client_certificates: ClientCertificates = "off"
    client_ca: str | None = None
    cert_option: str = "[DEFAULT] cert, [vncproxy] tls_certificates"
    client_ca_option: str = "[vncproxy] tls_client_ca"

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Give the files of each certificate and its key, the default one first.

        Raises:
            OSError: a directory can't be read.
        """
        if self.cert is not None:
            yield self.cert, self.key or self.cert
        for path in self.more:
            files = sorted(_pem_files(path)) if os.path.isdir(path) else [path]
            yield from ((file, file) for file in files)

    def fingerprint(self) -> Sequence[object]:
        """Return something that differs when one of the files has changed, come or gone."""
        try:
            paths = {path for pair in self.pairs() for path in pair}
        except OSError as error:
            return [str(error)]
        if self.client_ca:
            paths.add(self.client_ca)
        return [_state(path) for path in sorted(paths)]

    def client_ca_content(self) -> bytes | None:
        """Return what the file of the clients' CAs holds; None where no certificate counts.

        A file that can't be read holds nothing; to load it says what is wrong with it.
        """
        if self.client_certificates == "off" or not self.client_ca:
            return None
        try:
            return Path(self.client_ca).read_bytes()
        except OSError:
            return b""


def _pem_files(directory: str) -> Iterator[str]:
    return (str(path) for path in Path(directory).iterdir() if path.suffix == ".pem")


def _state(path: str) -> object:
    try:
        status = os.stat(path)
    except OSError as error:
        return path, error.errno
    return path, status.st_mtime_ns, status.st_size, status.st_ino


@dataclass(frozen=True, slots=True)
class ServedCertificate:
    """A certificate, ready to be served.

    Attributes:
        path: of its file.
        names: host names it is for, in lower case; ``*.`` stands for one label.
        ends: when it expires, in UTC.
        context: makes connections that show it.
    """

    path: str
    names: frozenset[str]
    ends: datetime.datetime
    context: SSL.Context


def load_certificates(options: TlsOptions) -> list[ServedCertificate]:
    """Return the certificates of all files, the default one first.

    Raises:
        ConfigError: one can't be used, or there is none; the text names the file.
    """
    try:
        loaded = [_load(cert, key, options) for cert, key in options.pairs()]
    except OSError as error:
        raise ConfigError(
            f"{error.filename}: {error.strerror}; see {options.cert_option}"
        ) from error
    if not loaded:
        raise ConfigError(
            f"there is no certificate: its file is missing, or not named; see {options.cert_option}"
        )
    return loaded


def _load(cert: str, key: str, options: TlsOptions) -> ServedCertificate:
    context = _context(options)
    for path in (cert, key):
        with open(path, "rb"):  # OpenSSL's own words for a missing file are none
            pass
    try:
        context.use_certificate_chain_file(cert)
        context.use_privatekey_file(key)
        context.check_privatekey()
    except SSL.Error as error:
        raise ConfigError(
            f"{cert} and {key} are no certificate with its key, in PEM and without a passphrase "
            f"({openssl_text(error) or 'no PEM'}); check both"
        ) from error
    pem = Path(cert).read_bytes()
    try:
        certificate = x509.load_pem_x509_certificates(pem)[0]
        names = _names(certificate)
    except ValueError as error:
        raise ConfigError(f"{cert}: {error}") from error
    return ServedCertificate(cert, names, certificate.not_valid_after_utc, context)


def _names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(name.lower() for name in extension.value.get_values_for_type(x509.DNSName))


def _context(options: TlsOptions) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    least = SSL.TLS1_3_VERSION if options.tls_1_3_only else SSL.TLS1_2_VERSION
    context.set_min_proto_version(least)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle one takes 24 KB, not 49
    context.clear_mode(_ENABLE_PARTIAL_WRITE)  # a call for all of a picture, not for each record
    context.set_session_id(_SESSIONS)  # without it no session that had a client's certificate
    context.set_passwd_cb(lambda *_: b"")  # or OpenSSL asks the terminal
    context.set_alpn_select_callback(_choose_http_1)
    try:
        context.set_cipher_list((options.ciphers or _MODERN_CIPHERS).encode())
    except SSL.Error as error:
        raise ConfigError(
            f"[console] ssl_ciphers: {options.ciphers!r} names no cipher; `openssl ciphers` does"
        ) from error
    context.set_info_callback(count_key_updates)
    context.set_verify(_VERIFY[options.client_certificates], _as_openssl_says)
    if options.client_certificates != "off":
        _trust(context, options.client_ca, options.client_ca_option)
    return context


def _trust(context: SSL.Context, client_ca: str | None, option: str) -> None:
    if not client_ca:
        raise ConfigError(
            f"[vncproxy] tls_client_certificates needs the CA of the clients' certificates; "
            f"set {option}"
        )
    try:
        with open(client_ca, "rb"):
            pass
        context.load_verify_locations(client_ca)
        context.load_client_ca(client_ca.encode())
    except OSError as error:
        raise ConfigError(f"{option}: {client_ca}: {error.strerror}") from error
    except SSL.Error as error:
        raise ConfigError(f"{option}: {client_ca} holds no PEM") from error


def _as_openssl_says(
    _connection: SSL.Connection, _certificate: crypto.X509, _number: int, _depth: int, good: int
) -> bool:
    return bool(good)


def _choose_http_1(_connection: SSL.Connection, offered: list[bytes]) -> Any:  # noqa: ANN401
    """Choose HTTP/1.1: Twisted has no WebSocket over HTTP/2."""
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS
