"""Keystone: a caller's X-Auth-Token is shown to it, and it says whose it is."""

from __future__ import annotations

from typing import Any

from keystoneauth1.exceptions import ClientException, NotFound
from keystoneauth1.loading import get_plugin_loader
from keystoneauth1.loading.base import BaseLoader
from keystoneauth1.plugin import AUTH_INTERFACE
from keystoneauth1.session import Session
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from vncproxy.compute.threads import BoundedThreads
from vncproxy.config.read import ConfigError
from vncproxy.config.topics.keystone import KeystoneAuthtoken
from vncproxy.console_api.callers import PREFIX, Caller, Presented
from vncproxy.console_api.faults import Fault
from vncproxy.reason import reason_of, words_of

_THREADS = 4
_TIMEOUT_S = 10
_LONGEST_TOKEN = 8192
_ADMIN = "admin"
_MEMBER = "member"  # nova's default policy: readers of a project may not open consoles
_LOGIN_OPTIONS = (
    "username",
    "password",
    "user_domain_name",
    "user_domain_id",
    "project_name",
    "project_domain_name",
    "project_domain_id",
    "application_credential_id",
    "application_credential_secret",
)


class KeystoneFails(Exception):
    """Keystone did not say whose a token is; the text says why, for the operator."""


class KeystoneAuthenticator:
    """Asks Keystone about every token, so that one that was revoked is worthless at once.

    A user may open the servers of the project that their token is for, if they are its member; one
    with the role admin may open all.

    Args:
        session: logged in as the gateway's own user; makes blocking calls.
        reactor: runs the callbacks of its threads.
    """

    _log = Logger(namespace="vncproxy.api")

    def __init__(self, session: Session, reactor: IReactorFromThreads) -> None:
        self._session = session
        self._threads = BoundedThreads(reactor, _THREADS, "keystone")

    async def caller_of(self, presented: Presented) -> Caller | None:
        """Return whose token it is (see ``callers.Authenticator``)."""
        token = presented.token
        if token is None or presented.user is not None or not _may_be_keystones(token):
            return None
        try:
            return await self._threads.call(lambda: self._ask(token))
        except KeystoneFails as error:
            self._log.error("[keystone_authtoken]: {reason}", reason=error)
            words = "Keystone can't be asked now; try again in a minute."
            raise Fault(503, words, {"Retry-After": "60"}) from error

    def _ask(self, token: str) -> Caller | None:
        try:
            return self._whose(token)
        except Exception as error:  # an answer of another form, or what its libraries raise
            raise KeystoneFails(_line(error, [token])) from error

    def _whose(self, token: str) -> Caller | None:
        try:
            answer = self._session.get(
                "/auth/tokens?nocatalog",
                endpoint_filter={
                    "service_type": "identity",
                    "interface": AUTH_INTERFACE,
                    "version": (3, 0),
                },
                headers={"X-Subject-Token": token},
                log=False,  # the token is in it
            )
        except NotFound:
            return None
        return _caller(answer.json()["token"])


def _may_be_keystones(token: str) -> bool:
    """Whether Keystone could have issued it: it is not shown what is certainly somebody else's."""
    if token.startswith(PREFIX):
        return False
    return len(token) <= _LONGEST_TOKEN and token.isascii() and token.isprintable()


def _caller(token: dict[str, Any]) -> Caller:
    roles = {role["name"].lower() for role in token.get("roles", [])}
    project = token.get("project", {}).get("id") or None
    name = f"{token['user']['name']} ({token['user']['id']})"
    if _ADMIN in roles:
        return Caller(name, admin=True)
    if project is None or _MEMBER not in roles:
        refusal = "Consoles are for members of a project; your token is for none."
        return Caller(name, refusal=refusal)
    return Caller(name, projects=(project,))


def keystone_session(settings: KeystoneAuthtoken) -> Session:
    """Return a session that logs in as the gateway's own user, when it is first used.

    Raises:
        ConfigError: an option is missing or wrong.
    """
    if not settings.auth_url:
        raise ConfigError("[keystone_authtoken] auth_url: set it, for [vncproxy] api_auth keystone")
    given = {name: getattr(settings, name) for name in _LOGIN_OPTIONS}
    try:
        loader: BaseLoader[Any] = get_plugin_loader(settings.auth_type)
        known = {option.dest for option in loader.get_options()}
        chosen = {name: value for name, value in given.items() if value and name in known}
        plugin = loader.load_from_options(auth_url=settings.auth_url, **chosen)
        verify = not settings.insecure and (settings.cafile or True)
        timeout_s = settings.http_connect_timeout
        return Session(
            auth=plugin, verify=verify, timeout=timeout_s if timeout_s > 0 else _TIMEOUT_S
        )
    except Exception as error:  # of keystoneauth, or of a plugin for it
        secrets = [text for name, text in given.items() if text and _is_secret(name)]
        raise ConfigError(f"[keystone_authtoken]: {_line(error, secrets)}") from error


def _line(error: Exception, secrets: list[str]) -> str:
    told = isinstance(error, ClientException)  # whose words say it all
    return words_of(error, secrets) if told else reason_of(error, secrets)


def _is_secret(option: str) -> bool:
    return option.endswith(("password", "secret"))
