"""How many processes carry the sessions."""

from __future__ import annotations

import os
from dataclasses import dataclass

from oslo_config import cfg, types
from typing_extensions import override

from vncproxy.config.topic import Topic

_MOST = 256


@dataclass(frozen=True, slots=True)
class Processes:
    """The values of these options of ``[vncproxy]``."""

    workers: int


class _Workers(types.ConfigType):
    """A number of processes, or ``auto`` for one per processor that this process may use."""

    def __init__(self) -> None:
        super().__init__(type_name="integer value, or auto")

    @override
    def __call__(self, value: object) -> int:
        if value == "auto":
            return min(len(os.sched_getaffinity(0)), _MOST)
        if str(value).isdecimal() and 1 <= int(str(value)) <= _MOST:
            return int(str(value))
        raise ValueError(f"give a number of processes from 1 to {_MOST}, or auto")

    @override
    def _formatter(self, value: object) -> str:
        return str(value)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Workers)

    __hash__ = None  # type: ignore[assignment]


OPTIONS: list[cfg.Opt] = [
    cfg.Opt(
        "workers",
        type=_Workers(),
        default=1,
        help="Processes that carry the sessions: a number, or `auto` for one per processor. With "
        "more than one, a parent process holds the listening sockets, starts the others, and "
        "starts a new one for each that dies.",
    ),
]

TOPIC = Topic("processes", "vncproxy", OPTIONS, Processes, flags=("workers",))
