"""Whom certificates name, and what may be written to name them."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis.strategies import text
from OpenSSL import crypto
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.certificates import issue
from vncproxy.edge.client_identity import checked_identity, identities_of

_NAMES = (
    x509.UniformResourceIdentifier("spiffe://example/kim"),
    x509.RFC822Name("kim@example.com"),
    x509.DNSName("Kim.Example.COM"),
)


def _shown(name: str, *identities: x509.GeneralName) -> crypto.X509:
    issued = issue(name, hosts=(), identities=identities or (x509.DNSName(""),))
    return crypto.X509.from_cryptography(issued.certificate)


def is_common_name(name: str) -> bool:
    """Return whether a name is printable, and fits into a common name (RFC 5280: 64 bytes here)."""
    return name.isprintable() and len(name.encode()) <= 64


class IdentityTests(SynchronousTestCase):
    def test_names(self) -> None:
        """The subject, and each kind of other name with its kind before it."""
        others = ("URI:spiffe://example/kim", "email:kim@example.com", "DNS:kim.example.com")
        self.assertEqual(identities_of(_shown("kim", *_NAMES)), ("CN=kim", *others))
        self.assertEqual(identities_of(_shown("", *_NAMES)), others)

    def test_nobody(self) -> None:
        """An empty subject is nobody, as are names that are empty."""
        empty = (x509.DNSName(""), x509.UniformResourceIdentifier(""))
        self.assertEqual(identities_of(_shown("", *empty)), ())
        self.assertEqual(identities_of(_shown("kim")), ("CN=kim",))

    def test_a_subject_that_looks_like_another_name(self) -> None:
        """Is one of its kind all the same."""
        self.assertEqual(
            identities_of(_shown("URI:spiffe://example/kim")), ("CN=URI:spiffe://example/kim",)
        )

    def test_one_that_is_malformed_inside(self) -> None:
        """Names nobody, and raises nothing."""
        der = issue("kim", hosts=("a.example",)).certificate.public_bytes(Encoding.DER)
        broken = der.replace(b"\x82\x09a.example", b"\x82\x0aa.example")
        self.assertNotEqual(broken, der)
        shown = crypto.load_certificate(crypto.FILETYPE_ASN1, broken)
        self.assertEqual(identities_of(shown), ())

    def test_written(self) -> None:
        """Each form that a certificate can have, and no other."""
        for identity in (
            *("CN=kim", "CN=kim,O=Example", "CN=a\\,b+OU=x", "1.2.840.113549.1.9.1=k@x,C=DE"),
            *("URI:spiffe://example/kim?a=b", "email:kim@example.com"),
        ):
            self.assertEqual(checked_identity(identity), identity)
        self.assertEqual(checked_identity("DNS:Kim.Example"), "DNS:kim.example")

    @given(text(min_size=1, max_size=64).filter(is_common_name))
    def test_any_subject_can_be_written(self, name: str) -> None:
        """A common name, whatever is in it, is written as certificates have it."""
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.assertEqual(checked_identity(subject.rfc4514_string()), subject.rfc4514_string())
