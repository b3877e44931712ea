"""The console API: where it listens, and who may ask."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg, types

from vncproxy.config.topic import Topic

METHODS = ("token", "certificate", "keystone", "none")


@dataclass(frozen=True, slots=True)
class Api:
    """The values of these options of ``[vncproxy]``."""

    api_listen: tuple[str, ...]
    api_auth: tuple[str, ...]
    api_callers_file: str | None
    api_cert: str | None
    api_key: str | None
    api_client_ca: str | None
    api_rate_limit: float


OPTIONS: list[cfg.Opt] = [
    cfg.MultiStrOpt(
        "api_listen",
        default=[],
        help="Twisted endpoint string of a listener of the console API, such as "
        "`tcp:8774:interface=127.0.0.1`; may be given several times. The words `https:` (TLS only) "
        "and `haproxy:` stand before it as in `listen`. Unset: no API. It needs `compute_driver` "
        "and `api_auth`. See docs/api.md.",
    ),
    cfg.ListOpt(
        "api_auth",
        item_type=types.String(choices=list(METHODS)),
        default=[],
        help="How the API knows who asks; all that are named count: token (of "
        "`api_callers_file`), certificate (of a TLS client, named there too), keystone (of "
        "`[keystone_authtoken]`), none (everybody may do everything, on loopback only).",
    ),
    cfg.StrOpt(
        "api_callers_file",
        help="File of those who may ask, and for which servers; `vncproxy api-token create` "
        "writes it. Unset: api-callers.conf beside the embedded database. Read again when it "
        "changes.",
    ),
    cfg.StrOpt(
        "api_cert",
        help="PEM file of the API's certificate (and its key, where `api_key` is unset). With it "
        "every `api_listen` speaks TLS, and nothing else. Read again when it changes, as are "
        "`api_key` and `api_client_ca`.",
    ),
    cfg.StrOpt("api_key", help="PEM file of that certificate's private key."),
    cfg.StrOpt(
        "api_client_ca", help="PEM file of the CAs that clients' certificates must come from."
    ),
    cfg.FloatOpt(
        "api_rate_limit",
        default=50.0,
        min=0,
        help="Requests a second of each caller, and how many at once; more are answered with "
        "429. 0: no limit.",
    ),
]

TOPIC = Topic("api", "vncproxy", OPTIONS, Api)
