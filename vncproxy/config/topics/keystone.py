"""OpenStack's identity service, for the API's callers: nova's own section, if there is one."""

from __future__ import annotations

from dataclasses import dataclass, field

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class KeystoneAuthtoken:
    """The values of these options of ``[keystone_authtoken]``."""

    auth_url: str | None
    auth_type: str
    username: str | None
    password: str | None = field(repr=False)
    user_domain_name: str | None
    user_domain_id: str | None
    project_name: str | None
    project_domain_name: str | None
    project_domain_id: str | None
    application_credential_id: str | None
    application_credential_secret: str | None = field(repr=False)
    www_authenticate_uri: str | None
    cafile: str | None
    insecure: bool
    http_connect_timeout: int


OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt("auth_url", help="URL of Keystone, with `api_auth = keystone`."),
    cfg.StrOpt(
        "auth_type",
        default="password",
        deprecated_name="auth_plugin",
        help="keystoneauth's plugin by which the gateway itself logs in: password or "
        "v3applicationcredential.",
    ),
    cfg.StrOpt("username", deprecated_name="user_name", help="Of the gateway's own user."),
    cfg.StrOpt("password", secret=True, help="Of that user."),
    cfg.StrOpt("user_domain_name", help="Of that user."),
    cfg.StrOpt("user_domain_id", help="Of that user."),
    cfg.StrOpt(
        "project_name", deprecated_name="tenant_name", help="In which that user may check tokens."
    ),
    cfg.StrOpt("project_domain_name", help="Of that project."),
    cfg.StrOpt("project_domain_id", help="Of that project."),
    cfg.StrOpt("application_credential_id", help="With v3applicationcredential."),
    cfg.StrOpt("application_credential_secret", secret=True, help="With v3applicationcredential."),
    cfg.StrOpt(
        "www_authenticate_uri",
        deprecated_name="auth_uri",
        help="Keystone's URL as clients know it; those without a token are told.",
    ),
    cfg.StrOpt("cafile", help="PEM file of the CAs that Keystone's certificate must come from."),
    cfg.BoolOpt("insecure", default=False, help="Believe any certificate. For trials only."),
    cfg.IntOpt(
        "http_connect_timeout",
        default=10,
        help="Seconds that Keystone may take for an answer. 0 or less: 10.",
    ),
]

TOPIC = Topic("keystone_authtoken", "keystone_authtoken", OPTIONS, KeystoneAuthtoken)
