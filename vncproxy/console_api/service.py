"""The console API as a part of the gateway: composed of what the configuration names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from twisted.logger import Logger

from vncproxy.compute.interface import ComputeDriver
from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings
from vncproxy.console_api.api import ConsoleApi
from vncproxy.console_api.callers import Authenticator
from vncproxy.console_api.callers_file import (
    CallersFault,
    CallersFile,
    CertificateAuthenticator,
    TokenAuthenticator,
    callers_in,
)
from vncproxy.console_api.consoles import Consoles
from vncproxy.console_api.doors import Doors, OpenDoor
from vncproxy.console_api.look_ups import TokenLookUps
from vncproxy.console_api.lookup import Lookup
from vncproxy.console_api.site import ApiSite
from vncproxy.limits.failures import FailedTokens
from vncproxy.limits.rate import TokenBuckets
from vncproxy.listener import ListenString
from vncproxy.tokens.issue import TokenIssuer
from vncproxy.tokens.sql import SqlTokenStore
from vncproxy.web.server import Hardening

_ELSEWHERE = "keystone"
_MOST_FAILURES = 10  # where [vncproxy] failed_tokens is not set: who asks here is a program
_log = Logger(namespace="vncproxy.api")


def api_site(
    settings: Settings,
    reactor: Any,  # noqa: ANN401  all of its interfaces
    driver: ComputeDriver | None,
    issuer: TokenIssuer,
    store: SqlTokenStore,
    console_types: Collection[str],
    hardening: Hardening,
) -> ApiSite:
    """Return what serves the API's listeners.

    Args:
        settings: the whole configuration.
        reactor: for its clock, and the threads.
        driver: knows servers; None where none is configured.
        issuer: stores tokens.
        store: makes its calls in threads.
        console_types: that the gateway serves.
        hardening: of the listeners' connections.

    Raises:
        ConfigError: an option that it needs is missing or wrong.
    """
    if driver is None:
        raise ConfigError(
            "[vncproxy] api_listen: the API needs to know servers; set [vncproxy] compute_driver"
        )
    api = settings.api
    requests = TokenBuckets(api.api_rate_limit, max(1.0, api.api_rate_limit), reactor.seconds)
    consoles = Consoles(driver, issuer, store, console_types, settings.consoleauth.token_ttl)
    resource = ConsoleApi(
        doors_of(settings, reactor), requests, Lookup(driver), consoles, store, reactor
    )
    if not api.api_cert:
        if api.api_client_ca or api.api_key:
            raise ConfigError("[vncproxy] api_cert: set it; api_key and api_client_ca need it")
        _warn_of_clear_text(api.api_listen)
    return ApiSite(resource, hardening)


def doors_of(settings: Settings, reactor: Any) -> Doors:  # noqa: ANN401
    """Return the configured methods of authentication, with what bounds them.

    Raises:
        ConfigError: there is none, or one lacks what it needs.
    """
    names = settings.api.api_auth
    if not names:
        raise ConfigError(
            "[vncproxy] api_listen: nobody may ask yet; set [vncproxy] api_auth (token, "
            "certificate, keystone, none)"
        )
    methods = {name: _method(name, settings, reactor) for name in names}
    elsewhere = [method for name, method in methods.items() if name == _ELSEWHERE]
    look_ups = TokenLookUps(
        elsewhere,
        FailedTokens(settings.limits.failed_tokens or _MOST_FAILURES, reactor.seconds),
        reactor,
        settings.keystone_authtoken.http_connect_timeout,
    )
    here = [method for name, method in methods.items() if name != _ELSEWHERE]
    return Doors(here, look_ups, _challenge(settings))


def _method(name: str, settings: Settings, reactor: Any) -> Authenticator:  # noqa: ANN401
    match name:
        case "none":
            listeners = settings.api.api_listen
            exposed = [text for text in listeners if not ListenString.parse(text).is_local]
            if exposed:
                raise ConfigError(
                    f"[vncproxy] api_auth: none is for this machine only, but {exposed[0]!r} "
                    "may be reached from others; add :interface=127.0.0.1, or choose another"
                )
            return OpenDoor()
        case name if name == _ELSEWHERE:
            return _keystone(settings, reactor)
        case "certificate":
            if not settings.api.api_client_ca:
                raise ConfigError("[vncproxy] api_auth: certificate needs [vncproxy] api_client_ca")
            return CertificateAuthenticator(_callers_file(settings))
        case _:
            return TokenAuthenticator(_callers_file(settings))


def _callers_file(settings: Settings) -> CallersFile:
    path = settings.callers_file
    try:
        callers_in(path)
    except CallersFault as fault:
        hint = "" if path.exists() else "; make it with `vncproxy api-token create`"
        raise ConfigError(f"[vncproxy] api_callers_file: {fault}{hint}") from fault
    return CallersFile(path)


def _keystone(settings: Settings, reactor: Any) -> Authenticator:  # noqa: ANN401
    try:
        from vncproxy.console_api.keystone import KeystoneAuthenticator, keystone_session
    except ImportError as error:
        raise ConfigError(
            "[vncproxy] api_auth: keystone needs keystoneauth1; pip install 'vncproxy[keystone]'"
        ) from error
    return KeystoneAuthenticator(keystone_session(settings.keystone_authtoken), reactor)


def _challenge(settings: Settings) -> str:
    uri = settings.keystone_authtoken.www_authenticate_uri
    if "keystone" in settings.api.api_auth and uri:
        return f'Keystone uri="{uri}"'
    return 'Bearer realm="vncproxy"'


def _warn_of_clear_text(listeners: Sequence[str]) -> None:
    for description in listeners:
        listen = ListenString.parse(description)
        if not listen.is_local and not listen.https and not listen.speaks_twisteds_tls:
            _log.warn(
                "[vncproxy] api_listen: tokens travel in the clear to {description}; set "
                "[vncproxy] api_cert, or put a balancer that speaks TLS in front",
                description=description,
            )
