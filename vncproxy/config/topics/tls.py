"""TLS towards browsers, beyond nova's options for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class Tls:
    """The values of these options of ``[vncproxy]``."""

    tls_certificates: tuple[str, ...]
    tls_client_certificates: Literal["off", "optional", "required"]
    tls_client_ca: str | None
    hsts_max_age: int | None


OPTIONS: list[cfg.Opt] = [
    cfg.ListOpt(
        "tls_certificates",
        default=[],
        help="PEM files, or directories of `*.pem`, each with a certificate, its chain and its "
        "key. A browser gets the one for the host name that it asks for; else that of `[DEFAULT] "
        "cert` or, without it, the first of these. All are read again when they change.",
    ),
    cfg.StrOpt(
        "tls_client_certificates",
        default="off",
        choices=["off", "optional", "required"],
        help="Whether browsers are asked for a certificate, or must have one. Its subject is in "
        "the log. With `required` plain HTTP is refused on all listeners of consoles, and one "
        "without `https:`, which can't ask, keeps the gateway from starting.",
    ),
    cfg.StrOpt(
        "tls_client_ca",
        help="PEM file of the CAs whose certificates browsers may have.",
    ),
    cfg.IntOpt(
        "hsts_max_age",
        min=0,
        help="Seconds for which a browser shall use nothing but https with this host, on any "
        "port (Strict-Transport-Security). Unset: a year with `ssl_only`, else not said.",
    ),
]

TOPIC = Topic("tls_options", "vncproxy", OPTIONS, Tls)
