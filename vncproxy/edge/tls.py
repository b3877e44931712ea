"""TLS towards clients: the certificate for each name, and new files without a restart."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Sequence

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from vncproxy.config.read import ConfigError
from vncproxy.edge.certificates import ServedCertificate, TlsOptions, load_certificates
from vncproxy.edge.client_identity import identities_of

SOON = datetime.timedelta(days=14)
_BETWEEN_WARNINGS = datetime.timedelta(days=1)
_FIRST_LABEL = re.compile(r"^[^.]+")


def _nobody_was_let_in() -> None:
    """Do nothing: there are no connections yet that could be closed."""


@implementer(IOpenSSLServerConnectionCreator)
class TlsServer:
    """Our side of clients' TLS.

    A running connection keeps the certificate that it began with.

    Attributes:
        options: what is served, or shall be once its files are good.
        requires_certificates: whether who shows none is refused, so that nobody may come without
            TLS either.

    Args:
        options: what to serve.
        now: the time of day, in UTC.
        on_stricter: called when connections may be open that would not be let in as they are any
            more: a certificate is required now, or the CAs of clients' certificates are others.

    Raises:
        ConfigError: a file can't be used.
    """

    _log = Logger()

    def __init__(
        self,
        options: TlsOptions,
        now: Callable[[], datetime.datetime],
        on_stricter: Callable[[], None] = _nobody_was_let_in,
    ) -> None:
        self.options = options
        self._now = now
        self._on_stricter = on_stricter
        self._client_ca: bytes | None = None
        self._seen: Sequence[object] = ()
        self._warned: datetime.datetime | None = None
        self._serve()

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """Return the connection for Twisted to do the handshake on."""
        return SSL.Connection(self._default.context, None)

    def look(self) -> None:
        """Serve the files anew if one of them has changed; meant to be called at an interval."""
        if self.options.fingerprint() != self._seen:
            self.reload(self.options)
        if self._warned is None or self._now() - self._warned >= _BETWEEN_WARNINGS:
            self._warn_of_expiry()

    def reload(self, options: TlsOptions) -> None:
        """Serve what these options name; where it can't be used, go on with what there is."""
        self.options = options
        before = self.requires_certificates, self._client_ca
        try:
            self._serve()
        except ConfigError as error:
            self._log.error("the certificates stay as they were, because {error}", error=error)
        else:
            self._log.info(
                "new certificates are served: {files}",
                files=", ".join(certificate.path for certificate in self._certificates),
            )
            was_required, client_ca = before
            newly_required = self.requires_certificates and not was_required
            if newly_required or (client_ca is not None and client_ca != self._client_ca):
                self._on_stricter()

    def _serve(self) -> None:
        # Taken before the files are read, so that what changes meanwhile is noticed next time.
        self._seen = self.options.fingerprint()
        client_ca = self.options.client_ca_content()
        self._certificates = load_certificates(self.options)
        self._client_ca = client_ca
        self._default = self._certificates[0]
        self.requires_certificates = self.options.client_certificates == "required"
        self._by_name = _by_name(self._certificates)
        for certificate in self._certificates:
            certificate.context.set_tlsext_servername_callback(self._choose)
        self._warn_of_expiry()

    def _choose(self, connection: SSL.Connection) -> None:
        """Show the certificate for the name that the client asks for."""
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        wildcard = _FIRST_LABEL.sub("*", name)
        chosen = self._by_name.get(name) or self._by_name.get(wildcard)
        if chosen is not None:
            connection.set_context(chosen.context)

    def _warn_of_expiry(self) -> None:
        self._warned = self._now()
        for certificate in self._certificates:
            left = certificate.ends - self._warned
            if left < datetime.timedelta():
                self._log.error(
                    "{path} expired on {day}, so clients refuse it; renew it",
                    path=certificate.path,
                    day=f"{certificate.ends:%Y-%m-%d}",
                )
            elif left < SOON:
                self._log.warn(
                    "{path} expires on {day}; renew it",
                    path=certificate.path,
                    day=f"{certificate.ends:%Y-%m-%d}",
                )


def _by_name(certificates: Iterable[ServedCertificate]) -> dict[str, ServedCertificate]:
    """Return whose each name is: the first one's that has it."""
    found: dict[str, ServedCertificate] = {}
    for certificate in certificates:
        for name in certificate.names:
            found.setdefault(name, certificate)
    return found


def client_name(connection: SSL.Connection | None) -> str | None:
    """Return whom the client's certificate names (see ``client_identity``), for logs.

    None where it showed none; a certificate without any name is one all the same.
    """
    certificate = connection.get_peer_certificate() if connection is not None else None
    if certificate is None:
        return None
    name = next(iter(identities_of(certificate)), "a certificate without a name")
    # A CA may let others choose their names, and these would begin lines of their own.
    return "".join(character if character.isprintable() else "?" for character in name)
