"""Certificates for tests, made on the spot by a CA of the tests' own."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, certificate: Path, key: Path) -> None:
        """Write them as PEM, into one file if the paths are the same."""
        certificate.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        pem = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        key.write_bytes(pem + certificate.read_bytes() if key == certificate else pem)


def issue(
    name: str,
    hosts: tuple[str, ...] = _LOOPBACK,
    issuer: Issued | None = None,
    days: int = 30,
    ca: bool = False,
    identities: Sequence[x509.GeneralName] = (),
) -> Issued:
    """Return a new certificate.

    Args:
        name: its common name; "" for an empty subject.
        hosts: addresses and names it is for.
        issuer: the CA; None for a self-signed one.
        days: until it expires; it began 60 days ago.
        ca: whether it may issue others.
        identities: what its subjectAltName holds besides the hosts.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(_key_usage(ca), critical=True)
        # Python 3.13 and later take no certificate that does not name its issuer's key.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_issuers_key(issuer.key if issuer else key), critical=False)
    )
    if not ca:
        names = [*(_general_name(host) for host in hosts), *identities]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not name)
    return Issued(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def write_certificate(path: Path, days: int = 30) -> None:
    """Write a self-signed certificate for 127.0.0.1, and its key, into one PEM file."""
    issue("127.0.0.1", days=days).write(path, path)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _issuers_key(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _key_usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
