"""SIGHUP: what of a changed configuration a running gateway takes over, and what it can't."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from twisted.logger import Logger

from vncproxy.config.options import TOPICS
from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Part:
    """Something of the running gateway that can be changed.

    Attributes:
        options: that it follows, each as ``[group] name``.
        apply: makes it follow new ones; called at every reload, for files may have changed while
            their names have not. May raise ``ConfigError``, and then changes nothing.
    """

    options: Sequence[str]
    apply: Callable[[Settings], None]


class Reload:
    """Reads the configuration again, and lets the parts follow it.

    Args:
        settings: the gateway runs with.
        read: reads them again; raises ``ConfigError``.
        parts: that can change.
    """

    _log = Logger()

    def __init__(
        self, settings: Settings, read: Callable[[], Settings], parts: Sequence[Part]
    ) -> None:
        self._at_start = settings
        self._latest = settings
        self._read = read
        self._parts = tuple(parts)

    def run(self) -> None:
        """Reload; say what changed, what did not, and why."""
        try:
            fresh = self._read()
        except ConfigError as error:
            self._log.error("the configuration stays as it was, because {error}", error=error)
            fresh = self._latest
        refused = [part for part in self._parts if not self._apply(part, fresh)]
        reloadable = {option for part in self._parts for option in part.options}
        followed = changed_options(self._latest, fresh) & reloadable
        followed -= {option for part in refused for option in part.options}
        waiting = changed_options(self._at_start, fresh) - reloadable
        self._latest = fresh
        self._log.info(
            "reloaded; changed: {options}", options=", ".join(sorted(followed)) or "no option"
        )
        if waiting:
            self._log.warn(
                "only a restart takes over {options}", options=", ".join(sorted(waiting))
            )

    def _apply(self, part: Part, settings: Settings) -> bool:
        """Let a part follow; return whether it did."""
        try:
            part.apply(settings)
        except ConfigError as error:
            self._log.error(
                "{options} not taken over, because {error}",
                options=", ".join(part.options),
                error=error,
            )
            return False
        return True


def changed_options(old: Settings, new: Settings) -> set[str]:
    """Return the options whose values differ, each as ``[group] name``."""
    return {
        f"[{topic.group}] {field.name}"
        for topic in TOPICS
        for field in fields(topic.values)
        if getattr(getattr(old, topic.name), field.name)
        != getattr(getattr(new, topic.name), field.name)
    }
