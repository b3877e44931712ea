"""What stands before the sites: TLS by the configured certificates, trust in balancers, bounds."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

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

_WRITE_HTTPS = "write https: before tcp:, tcp6:, unix: or systemd:, with [DEFAULT] cert set"
_CAN_NOT_ASK = (
    "it can't ask for the certificates that [vncproxy] tls_client_certificates = required demands; "
    f"{_WRITE_HTTPS}, or leave it out"
)
_IN_THE_CLEAR = f"others reach it without the TLS that [DEFAULT] ssl_only demands; {_WRITE_HTTPS}"
_TWISTEDS_TLS = (
    "ssl: is Twisted's own TLS, which follows no [console] ssl_minimum_version and ssl_ciphers; "
    f"{_WRITE_HTTPS}"
)
_LOOK_S = 5.0
_YEAR_S = 365 * 24 * 3600
_TLS_OPTIONS = (
    "[DEFAULT] cert",
    "[DEFAULT] key",
    "[console] ssl_ciphers",
    "[console] ssl_minimum_version",
    "[vncproxy] tls_certificates",
    "[vncproxy] tls_client_certificates",
    "[vncproxy] tls_client_ca",
)
_API_TLS_OPTIONS = ("[vncproxy] api_cert", "[vncproxy] api_key", "[vncproxy] api_client_ca")
RELOADED_AT_THE_ENTRANCE = ("[vncproxy] trusted_proxies", *_TLS_OPTIONS)


class Entrance:
    """What stands before the listeners of a process.

    Args:
        settings: say what.
        clock: runs the time-outs.
        with_tls: whether one of its listeners has the word ``https:``.

    Raises:
        ConfigError: an option can't be followed.
    """

    def __init__(self, settings: Settings, clock: IReactorTime, with_tls: bool = True) -> None:
        self._trusted_items = trusted_items(settings)
        self.trusted = TrustedProxies(self._trusted_items)
        # The connections that one of them has let in, or that it might forbid.
        self._of_tls: set[PendingConnections] = set()
        self._of_api_tls: set[PendingConnections] = set()
        self.tls = None
        if with_tls and settings.tls:
            self.tls = TlsServer(tls_options(settings), _now, partial(_retire, self._of_tls))
        self._api_tls = None
        if settings.api.api_listen and settings.api.api_cert:
            retire = partial(_retire, self._of_api_tls)
            self._api_tls = TlsServer(api_tls_options(settings), _now, retire)
        self._of_balancers: set[PendingConnections] = set()
        self._settings = settings
        self._clock = clock
        self._consoles_at: list[tuple[str, str]] = []

    def before_consoles(
        self, site: HardenedSite, description: str, option: str = "[vncproxy] listen"
    ) -> IProtocolFactory:
        """Return what listens for a site of consoles where this option's string says.

        Raises:
            ConfigError: its words can't be followed.
        """
        listen = console_listener(self._settings, description, option)
        self._consoles_at.append((description, option))
        self._of_tls.add(site.hardening.pending)
        return self._before(site, listen, self.tls, self._settings.default.ssl_only)

    def before_api(self, site: HardenedSite, description: str) -> IProtocolFactory:
        """Return what listens for the console API where a string of ``api_listen`` says.

        Raises:
            ConfigError: its words can't be followed.
        """
        listen = api_listener(self._settings, description)
        (self._of_api_tls if self._api_tls else self._of_tls).add(site.hardening.pending)
        return self._before(site, listen, self._api_tls or self.tls, tls_only=True)

    def before_metrics(self, site: HardenedSite, description: str) -> IProtocolFactory:
        """Return what listens for the metrics where the string of ``metrics_listen`` says.

        Raises:
            ConfigError: its words can't be followed.
        """
        listen = metrics_listener(self._settings, description)
        self._of_tls.add(site.hardening.pending)
        return self._before(site, listen, self.tls, tls_only=True)

    def _before(
        self, site: HardenedSite, listen: ListenString, tls: TlsServer | None, tls_only: bool
    ) -> IProtocolFactory:
        if not listen.proxy_header and not listen.https:
            return site
        if listen.proxy_header:
            self._of_balancers.add(site.hardening.pending)
        rules = FirstByteRules(
            trusted=self.trusted,
            proxy_header=listen.proxy_header,
            tls=tls if listen.https else None,
            tls_only=tls_only,
            timeout_s=self._settings.balancers.first_bytes_timeout,
        )
        return FirstByteFactory(rules, site, site.hardening.pending, self._clock)

    def hardening(self, pending: PendingConnections) -> Hardening:
        """Return what the connections of sites behind this are held to."""
        settings = self._settings
        header = settings.balancers.forwarded_header
        return Hardening(
            pending,
            Forwarding(self.trusted, header, hsts_max_age(settings)),
            settings.listening.request_timeout,
            self._clock,
            settings.limits.max_request_size,
        )

    def watches(self) -> Iterator[TimerService]:
        """Give the services that notice changed certificates, where there are any."""
        for tls in (self.tls, self._api_tls):
            if tls is not None:
                yield TimerService(_LOOK_S, tls.look)

    def reload_parts(self) -> Iterator[Part]:
        """Give what a reload can change here."""
        yield Part(
            ("[vncproxy] trusted_proxies",),
            self._reload_trusted,
        )
        if self.tls is not None:
            yield Part(_TLS_OPTIONS, partial(self._reload_tls, self.tls))
        if self._api_tls is not None:
            api_tls = self._api_tls
            yield Part(_API_TLS_OPTIONS, lambda new: api_tls.reload(api_tls_options(new)))

    def _reload_trusted(self, settings: Settings) -> None:
        before, items = self._trusted_items, trusted_items(settings)
        self.trusted.replace(items)
        self._trusted_items = items
        if set(before) - set(items):  # some are here whose word counted
            _retire(self._of_balancers)

    def _reload_tls(self, tls: TlsServer, settings: Settings) -> None:
        options = tls_options(settings)
        for description, option in self._consoles_at:
            _check_promises(settings, ListenString.parse(description), option)
        if options.cert is None and tls.options.cert == settings.default.cert:
            # It was there before: that it is missing now is a fault, and no wish.
            options = replace(options, cert=settings.default.cert)
        tls.reload(options)


def _retire(let_in: Iterable[PendingConnections]) -> None:
    for pending in let_in:
        pending.retire()


def console_listener(settings: Settings, description: str, option: str) -> ListenString:
    """Return a string of this option, at which consoles are served, taken apart.

    Raises:
        ConfigError: its words can't be followed.
    """
    listen = _checked(settings, ListenString.parse(description), option, settings.tls)
    _check_promises(settings, listen, option)
    return listen


def _check_promises(settings: Settings, listen: ListenString, option: str) -> None:
    """Raise ``ConfigError`` where an option promises of all listeners what this one can't keep."""
    secure = listen.https or listen.speaks_twisteds_tls
    console = settings.console
    of_our_tls = console.ssl_minimum_version == "tlsv1_3" or console.ssl_ciphers
    fault = ""
    if settings.tls_options.tls_client_certificates == "required" and not listen.https:
        fault = _CAN_NOT_ASK
    elif settings.default.ssl_only and not secure and not listen.is_local:
        fault = _IN_THE_CLEAR
    elif listen.speaks_twisteds_tls and of_our_tls:
        fault = _TWISTEDS_TLS
    if fault:
        raise ConfigError(f"{option}: {listen.whole!r} can't be used: {fault}")


def api_listener(settings: Settings, description: str) -> ListenString:
    """Return a string of ``api_listen``, taken apart.

    Where the API has a certificate of its own TLS is spoken there, whether it says so or not.

    Raises:
        ConfigError: its words can't be followed.
    """
    listen = ListenString.parse(description)
    own = bool(settings.api.api_cert)
    listen = replace(listen, https=listen.https or own)
    return _checked(settings, listen, "[vncproxy] api_listen", own or settings.tls)


def metrics_listener(settings: Settings, description: str) -> ListenString:
    """Return the string of ``metrics_listen``, taken apart.

    Raises:
        ConfigError: its words can't be followed.
    """
    listen = ListenString.parse(description)
    return _checked(settings, listen, "[vncproxy] metrics_listen", settings.tls)


def _checked(
    settings: Settings, listen: ListenString, option: str, has_certificate: bool
) -> ListenString:
    fault = _fault_of(listen, bool(trusted_items(settings)), has_certificate)
    if fault:
        raise ConfigError(f"{option}: {listen.whole!r} can't be used: {fault}")
    return listen


def _fault_of(listen: ListenString, has_trusted: bool, has_certificate: bool) -> str:
    if listen.endpoint.startswith("haproxy:"):
        return "haproxy: stands before https:, once"
    if listen.proxy_header and not has_trusted:
        return "haproxy: needs the balancers' addresses; set [vncproxy] trusted_proxies"
    if listen.https and not has_certificate:
        return "https: needs a certificate; set [DEFAULT] cert or [vncproxy] tls_certificates"
    if (listen.proxy_header or listen.https) and listen.speaks_twisteds_tls:
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


def api_tls_options(settings: Settings) -> TlsOptions:
    """Return what the configuration says of TLS towards the API's clients."""
    api = settings.api
    return TlsOptions(
        cert=api.api_cert,
        key=api.api_key,
        # Who has none may have a token; and who has neither hears it in words.
        client_certificates="optional" if api.api_client_ca else "off",
        client_ca=api.api_client_ca,
        cert_option="[vncproxy] api_cert",
        client_ca_option="[vncproxy] api_client_ca",
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
