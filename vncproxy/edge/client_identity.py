"""Whom a TLS client's certificate names, in the words of files and logs. Pure.

An identity is the certificate's subject (RFC 4514, as ``CN=backup,O=Example``), or a name of its
subjectAltName, with its kind before it: ``URI:spiffe://example/backup``,
``email:backup@example.com``, ``DNS:backup.example.com``. No subject has a colon before its first
``=``, so that one is never taken for the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cryptography import x509
from OpenSSL import crypto

_SanKind = type[x509.UniformResourceIdentifier] | type[x509.RFC822Name] | type[x509.DNSName]
_SAN_KINDS: dict[str, _SanKind] = {
    "URI": x509.UniformResourceIdentifier,
    "email": x509.RFC822Name,
    "DNS": x509.DNSName,
}
# The attributes that RFC 4514 §3 names; cryptography writes all others by their numbers.
_ATTRIBUTE = r"(?:CN|L|ST|O|OU|C|STREET|DC|UID|[0-2](?:\.[0-9]+)+)=(?:[^,+\\]|\\.)+"
_SUBJECT = re.compile(rf"{_ATTRIBUTE}(?:[,+]{_ATTRIBUTE})*")
_FORMS = "a subject such as CN=backup,O=Example, or URI:, email: or DNS: and a name"


def identities_of(certificate: crypto.X509) -> tuple[str, ...]:
    """Return whom a verified certificate names, its subject first; nobody where that is empty."""
    try:
        return tuple(dict.fromkeys(_named(certificate.to_cryptography())))
    except Exception:  # whatever a library raises at a certificate that is malformed inside
        return ()


def checked_identity(text: str) -> str:
    """Return an identity that somebody wrote, in the form that ``identities_of`` has.

    Raises:
        ValueError: no certificate can have it; the text says why.
    """
    kind, colon, name = text.partition(":")
    if "\n" in text or not text.isprintable():
        raise ValueError(f"must be {_FORMS}, on one line")
    if not text:
        raise ValueError(f"is empty; name {_FORMS}")
    if colon and kind in _SAN_KINDS:
        if not name or name != name.strip():
            raise ValueError(f"has no name behind {kind}:")
        if kind == "DNS" and "*" in name:
            raise ValueError("is a pattern; name one host")
        return _identity(kind, name)
    if not _SUBJECT.fullmatch(text):
        raise ValueError(
            f"is none of {_FORMS}; attributes are CN, L, ST, O, OU, C, STREET, DC, UID, or numbers "
            "such as 1.2.840.113549.1.9.1 for emailAddress, with no space behind the comma"
        )
    return text


def _named(certificate: x509.Certificate) -> Iterator[str]:
    subject = certificate.subject.rfc4514_string()
    if subject:
        yield subject
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return
    for kind, form in _SAN_KINDS.items():
        yield from (_identity(kind, name) for name in found.value.get_values_for_type(form) if name)


def _identity(kind: str, name: str) -> str:
    return f"{kind}:{name.lower() if kind == 'DNS' else name}"
