"""The port check, which keeps a stale token from opening another tenant's machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class OpenStack:
    """The values of these options of ``[vncproxy]``."""

    port_check: Literal["rpc", "driver", "off"] | None
    port_check_timeout: float | None


OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "port_check",
        choices=["rpc", "driver", "off"],
        help="Who is asked, when a console is opened, whether the token's port is still that "
        "machine's: rpc, nova-compute by the message bus (needs `pip install "
        "'vncproxy[openstack]'`); driver, the hypervisor; or off, nobody. Ports are used again, "
        "so with OpenStack this must not be off. Unset: rpc where `[DEFAULT] transport_url` or "
        "`[api_database] connection` is set, driver with a `compute_driver`, else off.",
    ),
    cfg.FloatOpt(
        "port_check_timeout",
        min=0.1,
        help="Seconds to wait for that answer. Unset: `[DEFAULT] rpc_response_timeout`.",
    ),
]

TOPIC = Topic("openstack", "vncproxy", OPTIONS, OpenStack)
