"""What stands before the sites: TLS by the configured certificates, trust in balancers, bounds."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import replace

from twisted.application.internet import TimerService
from twisted.internet.interfaces import IProtocolFactory, IReactorTime

from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings
from vncproxy.edge.certificates import TlsOptions
from vncproxy.edge.first_byte import FirstByteFactory, FirstByteRules
from vncproxy.edge.networks import TrustedProxies
from vncproxy.edge.pending import PendingConnections
from vncproxy.edge.tls import TlsServer
from vncproxy.listener import ListenString
from vncproxy.reload import Part
from vncproxy.web.forwarding import Forwarding
from vncproxy.web.server import HardenedSite, Hardening

_TWISTDS_TLS = ("ssl:", "tls:")
_LOOK_S = 5.0
_YEAR_S = 365 * 24 * 3600


class Entrance:
    """What stands before the sites of all listeners.

    Args:
        trusted: the balancers.
        tls: for listeners with ``https:``; None where no certificate is configured.
        tls_only: whether these refuse who does not speak TLS.
        timeout_s: seconds for the PROXY header and the first byte behind it.
        clock: runs that time-out.
    """

    def __init__(
        self,
        trusted: TrustedProxies,
        tls: TlsServer | None,
        tls_only: bool,
        timeout_s: float,
        clock: IReactorTime,
    ) -> None:
        self.trusted = trusted
        self.tls = tls
        self._tls_only = tls_only
        self._timeout_s = timeout_s
        self._clock = clock

    @classmethod
    def of(cls, settings: Settings, clock: IReactorTime) -> Entrance:
        """Return what these settings ask for.

        Raises:
            ConfigError: an option can't be followed.
        """
        return cls(
            trusted=TrustedProxies(trusted_items(settings)),
            tls=TlsServer(tls_options(settings), _now) if settings.tls else None,
            tls_only=settings.default.ssl_only,
            timeout_s=settings.balancers.first_bytes_timeout,
            clock=clock,
        )

    def before(
        self, site: HardenedSite, description: str, option: str = "[vncproxy] listen"
    ) -> IProtocolFactory:
        """Return what listens for a site where this option's string says.

        Raises:
            ConfigError: its words can't be followed.
        """
        listen = ListenString.parse(description)
        fault = fault_of(listen, bool(self.trusted), self.tls is not None)
        if fault:
            raise ConfigError(f"{option}: {description!r} can't be used: {fault}")
        if not listen.proxy_header and not listen.https:
            return site
        rules = FirstByteRules(
            trusted=self.trusted,
            proxy_header=listen.proxy_header,
            tls=self.tls if listen.https else None,
            tls_only=listen.https and self._tls_only,
            timeout_s=self._timeout_s,
        )
        return FirstByteFactory(rules, site, site.hardening.pending, self._clock)

    def hardening(self, settings: Settings, pending: PendingConnections) -> Hardening:
        """Return what the connections of sites behind this are held to."""
        header = settings.balancers.forwarded_header
        return Hardening(
            pending,
            Forwarding(self.trusted, header, hsts_max_age(settings)),
            settings.listening.request_timeout,
            self._clock,
            settings.limits.max_request_size,
        )

    def watches(self) -> Iterator[TimerService]:
        """Give the service that notices changed certificates, where there are any."""
        if self.tls is not None:
            yield TimerService(_LOOK_S, self.tls.look)

    def reload_parts(self) -> list[Part]:
        """Return what a reload can change here."""
        parts = [
            Part(
                ("[vncproxy] trusted_proxies",),
                lambda settings: self.trusted.replace(trusted_items(settings)),
            )
        ]
        if self.tls is not None:
            parts.append(Part(_TLS_OPTIONS, self._reload_tls))
        return parts

    def _reload_tls(self, settings: Settings) -> None:
        if self.tls is None:
            return
        options = tls_options(settings)
        if options.cert is None and self.tls.options.cert == settings.default.cert:
            # It was there before: that it is missing now is a fault, and no wish.
            options = replace(options, cert=settings.default.cert)
        self.tls.reload(options)


_TLS_OPTIONS = (
    "[DEFAULT] cert",
    "[DEFAULT] key",
    "[console] ssl_ciphers",
    "[console] ssl_minimum_version",
    "[vncproxy] tls_certificates",
    "[vncproxy] tls_client_certificates",
    "[vncproxy] tls_client_ca",
)


RELOADED_AT_THE_ENTRANCE = ("[vncproxy] trusted_proxies", *_TLS_OPTIONS)


def fault_of(listen: ListenString, has_trusted: bool, has_certificate: bool) -> str:
    """Return why the words of a listener's string can't be followed, or ""."""
    if listen.endpoint.startswith("haproxy:"):
        return "haproxy: stands before https:, once"
    if listen.proxy_header and not has_trusted:
        return "haproxy: needs the balancers' addresses; set [vncproxy] trusted_proxies"
    if listen.https and not has_certificate:
        return "https: needs a certificate; set [DEFAULT] cert or [vncproxy] tls_certificates"
    if (listen.proxy_header or listen.https) and listen.endpoint.startswith(_TWISTDS_TLS):
        return "the words https: and haproxy: stand before tcp:, tcp6:, unix: or systemd:"
    return ""


def tls_options(settings: Settings) -> TlsOptions:
    """Return what the configuration says of TLS towards browsers."""
    return TlsOptions(
        cert=settings.cert,
        key=settings.default.key,
        more=settings.tls_options.tls_certificates,
        ciphers=settings.console.ssl_ciphers,
        tls_1_3_only=settings.console.ssl_minimum_version == "tlsv1_3",
        client_certificates=settings.tls_options.tls_client_certificates,
        client_ca=settings.tls_options.tls_client_ca,
    )


def trusted_items(settings: Settings) -> tuple[str, ...]:
    """Return ``trusted_proxies``, once it was tried.

    Raises:
        ConfigError: it is no list of addresses and networks.
    """
    items = settings.balancers.trusted_proxies
    try:
        TrustedProxies(items)
    except ValueError as error:
        raise ConfigError(
            f"[vncproxy] trusted_proxies: {error}; write addresses, networks or unix"
        ) from error
    return items


def hsts_max_age(settings: Settings) -> int:
    """Return the seconds for Strict-Transport-Security; 0 for none."""
    chosen = settings.tls_options.hsts_max_age
    if chosen is not None:
        return chosen
    return _YEAR_S if settings.default.ssl_only else 0


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
