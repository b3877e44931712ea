"""How much one client, one machine, one token, and all of them together may have."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class LimitsGroup:
    """The values of these options of ``[vncproxy]``."""

    connection_rate: float
    connection_burst: int
    failed_tokens: int
    max_unauthenticated: int
    max_request_size: int
    max_sessions: int | None
    max_sessions_per_client: int
    max_sessions_per_instance: int
    max_sessions_per_token: int
    single_use: bool
    single_use_resume: int
    target_networks: tuple[str, ...] | None
    target_ports: tuple[str, ...] | None


OPTIONS: list[cfg.Opt] = [
    cfg.FloatOpt(
        "connection_rate",
        default=0.0,
        min=0,
        help="Consoles that one client address may ask for a second, in the long run; 0: any "
        "number. An IPv6 client is its /64. Set it only where the gateway sees the clients' own "
        "addresses, not a balancer's.",
    ),
    cfg.IntOpt(
        "connection_burst",
        default=20,
        min=1,
        help="Consoles that one client address may ask for at once, with `connection_rate`.",
    ),
    cfg.IntOpt(
        "failed_tokens",
        default=0,
        min=0,
        help="Bad tokens in a row after which a client address must wait before its next one: "
        "1 s, then 2, 4, up to 300; 0: never. As with `connection_rate`, only where clients' own "
        "addresses are seen: a good console token waits too, since nothing but a look-up tells it "
        "from a bad one. The console API has a count of its own, of 10 where this is 0, which "
        "keeps out no token of its file.",
    ),
    cfg.IntOpt(
        "max_unauthenticated",
        default=1000,
        min=0,
        help="Connections at once that have shown no good token yet, from their accept on; at this "
        "number the one that waits longest is closed for a new one. As many again may be hearing "
        "why they are refused, and the API's and the metrics' listeners have as many each. Never "
        "more than half of the open files in all. 0: any number.",
    ),
    cfg.IntOpt(
        "max_request_size",
        default=65536,
        min=1024,
        help="Bytes of a request's first line and headers together; what is larger is answered by "
        "414 or 431. Browsers send the cookies of all of a site's applications, and single sign-on "
        "makes them large.",
    ),
    cfg.IntOpt(
        "max_sessions",
        min=0,
        help="Sessions at once; 0: any number. Unset: as many as the process' limit of open files "
        "allows, two for each beside those that wait.",
    ),
    cfg.IntOpt(
        "max_sessions_per_client",
        default=0,
        min=0,
        help="Sessions at once of one client address (an IPv6 client is its /64); 0: any number.",
    ),
    cfg.IntOpt(
        "max_sessions_per_instance",
        default=50,
        min=0,
        help="Sessions at once on one machine, through this node; 0: any number. Tokens that were "
        "made for a host and a port name no machine.",
    ),
    cfg.IntOpt(
        "max_sessions_per_token",
        default=10,
        min=0,
        help="Sessions at once with one token, through this node; 0: any number.",
    ),
    cfg.BoolOpt(
        "single_use",
        default=False,
        help="Let every token open its console once, on one of all gateways that share the "
        "database; otherwise only those that were issued so. See `single_use_resume`.",
    ),
    cfg.IntOpt(
        "single_use_resume",
        default=60,
        min=0,
        help="Seconds after the end of its session in which a token of single use opens its "
        "console again in the same browser, which is known by a cookie. It does so while the "
        "session lasts, too, because a gateway learns late that a network broke.",
    ),
    cfg.ListOpt(
        "target_networks",
        help="Where consoles may be: networks (10.1.0.0/16, fd00:1::/64) and directories of UNIX "
        "sockets (/run/consoles). Names are resolved first, and the address is checked; an IPv4 "
        "address within an IPv6 one (NAT64, 6to4 and others) is checked as the IPv4 address. "
        "Unset: anywhere but link-local, multicast, unspecified and cloud metadata addresses, and "
        "in UNIX sockets only with tokens of the embedded database.",
    ),
    cfg.ListOpt(
        "target_ports",
        help="Ports that consoles may have: 5900-6923, 10000. Unset: any.",
    ),
]

TOPIC = Topic("limits", "vncproxy", OPTIONS, LimitsGroup)
