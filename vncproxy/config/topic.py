"""A topic: options of one group that belong together, and the dataclass that holds their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oslo_config import cfg


@dataclass(frozen=True, slots=True)
class Topic:
    """Options that are defined, documented and read together.

    Attributes:
        name: of the field of ``settings.Settings`` that holds the values.
        group: of the configuration file; several topics may share one.
        options: their definitions.
        values: frozen dataclass with one field an option, of the same name.
        flags: the options that are also flags of twistd's command, named as nova's commands
            name theirs.
    """

    name: str
    group: str
    options: list[cfg.Opt]
    values: type[Any]
    flags: tuple[str, ...] = ()
