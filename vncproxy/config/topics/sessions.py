"""The times and sizes of every session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class Sessions:
    """The values of these options of ``[vncproxy]``."""

    connect_timeout: float
    negotiation_timeout: float
    heartbeat_interval: float
    max_message_size: int
    splice: Literal["auto", "epoll", "portable"]
    revoke_check: float


OPTIONS: list[cfg.Opt] = [
    cfg.FloatOpt(
        "connect_timeout",
        default=10.0,
        min=0.1,
        help="Seconds to wait for the connection to a console's server, the look-up of its host's "
        "name included.",
    ),
    cfg.FloatOpt(
        "negotiation_timeout",
        default=15.0,
        min=0.1,
        help="Seconds for the RFB negotiation, from the WebSocket's opening to its last byte, "
        "the connection to the server included.",
    ),
    cfg.FloatOpt(
        "heartbeat_interval",
        default=25.0,
        min=0,
        help="Seconds between two pings to a browser, so that nothing in between takes an idle "
        "console for a dead one; a browser that is silent for two of them is given up. 0: none.",
    ),
    cfg.IntOpt(
        "max_message_size",
        default=0,
        min=0,
        help="Bytes of the largest WebSocket message taken from a client; a larger one ends the "
        "session with close code 1009. Messages go on as they come, so their size costs nothing, "
        "and whatever is pasted is one: 0, for any size, is right unless something else demands a "
        "limit.",
    ),
    cfg.StrOpt(
        "splice",
        choices=["auto", "epoll", "portable"],
        default="auto",
        help="How bytes are moved: epoll, on Linux, takes as little as a fifth of the CPU that "
        "portable does; portable works everywhere, and with every kind of endpoint. auto: epoll "
        "where it is to be had.",
    ),
    cfg.FloatOpt(
        "revoke_check",
        default=0,
        min=0,
        help="Seconds between two looks at the tokens of the running consoles: one whose token "
        "was deleted before its time, as nova does with a server that is deleted or migrated "
        "away, is ended. 0: none.",
    ),
]

TOPIC = Topic("sessions", "vncproxy", OPTIONS, Sessions)
