"""The message bus of nova, of which oslo.messaging reads the rest itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class Messaging:
    """The values of these options of ``[DEFAULT]``."""

    transport_url: str | None = field(repr=False)
    control_exchange: str
    rpc_response_timeout: int


OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "transport_url",
        secret=True,
        help="oslo.messaging URL of the cell's message bus, by which nova-compute is asked; "
        "several hosts may be listed. The options of `[oslo_messaging_rabbit]` (TLS, quorum "
        "queues, heartbeats) are followed as oslo.messaging has them.",
    ),
    cfg.StrOpt("control_exchange", default="nova", help="Exchange that nova-compute listens at."),
    cfg.IntOpt(
        "rpc_response_timeout",
        default=60,
        help="Seconds that nova-compute may take to answer. As in nova, with 0 or less no answer "
        "comes in time.",
    ),
]

TOPIC = Topic("messaging", "DEFAULT", OPTIONS, Messaging)


@dataclass(frozen=True, slots=True)
class UpgradeLevels:
    """The values of these options of ``[upgrade_levels]``."""

    compute: str | None


LEVELS: list[cfg.Opt] = [
    cfg.StrOpt(
        "compute",
        help="The oldest computes' release by name (`zed`), their RPC version (`6.1`), or `auto` "
        "to find it in the database. Unset: the newest that this gateway knows, and whatever "
        "topic a compute listens on.",
    ),
]

LEVELS_TOPIC = Topic("upgrade_levels", "upgrade_levels", LEVELS, UpgradeLevels)
