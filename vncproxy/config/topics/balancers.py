"""Balancers before the gateway, and what is believed of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class Balancers:
    """The values of these options of ``[vncproxy]``."""

    trusted_proxies: tuple[str, ...]
    forwarded_header: Literal["x-forwarded-for", "forwarded"]
    proxy_protocol: bool
    first_bytes_timeout: float


OPTIONS: list[cfg.Opt] = [
    cfg.ListOpt(
        "trusted_proxies",
        default=[],
        help="Addresses and networks of the balancers, and `unix` for those that come by a UNIX "
        "socket. Only they are believed who the client is: `10.0.0.0/24, 2001:db8::7, unix`. "
        "While this is empty, X-Forwarded-Proto is believed of anyone, as nova does, and no "
        "other header of anyone.",
    ),
    cfg.StrOpt(
        "forwarded_header",
        default="x-forwarded-for",
        choices=["x-forwarded-for", "forwarded"],
        help="The header in which balancers tell the client's address; the other is ignored, "
        "because a balancer passes on what a client made up in it. With `x-forwarded-for` the "
        "scheme is X-Forwarded-Proto's, with `forwarded` its own.",
    ),
    cfg.BoolOpt(
        "proxy_protocol",
        default=False,
        help="Whether connections to the listener of `[vnc] novncproxy_host` begin with a header "
        "of the PROXY protocol, version 1 or 2; then it serves `trusted_proxies` only. In "
        "`listen` the word `haproxy:` says the same.",
    ),
    cfg.FloatOpt(
        "first_bytes_timeout",
        default=10.0,
        min=0.1,
        help="Seconds for a connection to send its PROXY header and its first byte, where these "
        "are looked at.",
    ),
]

TOPIC = Topic("balancers", "vncproxy", OPTIONS, Balancers)
