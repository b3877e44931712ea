"""What of the options in files was understood, what is ignored on purpose, and what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from oslo_config import cfg

from vncproxy.config.ignored import REASONS
from vncproxy.config.options import OPTIONS
from vncproxy.config.read import ConfigError, OptionFiles
from vncproxy.redaction import without_secrets

_NOT_OURS = "no console proxy reads it"
_NOBODYS = "nova has no such option here, nor has vncproxy; nothing is done with it"
_MESSAGING_GROUPS = ("oslo_messaging_rabbit",)
_State = Literal["understood", "ignored", "unknown", "wrong"]


@dataclass(frozen=True, slots=True)
class OptionReport:
    """One option as a file has it, or all those of a group of which the same is to be said.

    Attributes:
        option: ``[group] name``, or ``[group] *`` where the text names them.
        state: ``ignored`` is on purpose; ``unknown`` is in no release of nova's that is known.
        text: the value, or the reason.
    """

    option: str
    state: _State
    text: str


def report_on(arguments: Sequence[str], program: str) -> list[OptionReport]:
    """Return a report on every option of the files that these arguments name.

    Raises:
        ConfigError: a file can't be read at all.
    """
    files = OptionFiles(arguments, program)
    others: dict[str, list[str]] = {}
    reports: dict[str, OptionReport] = {}
    for group, name in files.names():
        found = _report(files, group, name)
        if found is None:
            others.setdefault(group, []).append(name)
        else:
            reports[found.option] = found
    return [*reports.values(), *_others(others)]


def _report(files: OptionFiles, group: str, name: str) -> OptionReport | None:
    """Return what is to be said of an option; None if only that it is not ours."""
    label = f"[{group}] {name}"
    option, now = _KNOWN.get((group, name), (None, ""))
    if option is not None:
        renamed = f"as {now}, its newer name: " if now != label else ""
        try:
            value = files.value(*_place(now))
        except ConfigError as error:
            return OptionReport(label, "wrong", str(error))
        return OptionReport(label, "understood", renamed + _shown(option, value))
    if (group, name) in REASONS:
        return OptionReport(label, "ignored", REASONS[group, name])
    if group in _MESSAGING_GROUPS:
        return OptionReport(label, *_messaging(name))
    likely = difflib.get_close_matches(name, _names_of(group), n=1, cutoff=0.8)
    if likely or group == "vncproxy":
        hint = f"; did you mean {likely[0]}?" if likely else "; see conf/vncproxy.conf"
        return OptionReport(label, "wrong", f"no such option{hint}")
    if group in _WHOLLY_KNOWN:
        return OptionReport(label, "unknown", _NOBODYS)
    return None


def _others(by_group: dict[str, list[str]]) -> Iterator[OptionReport]:
    for group, names in by_group.items():
        text = f"{', '.join(dict.fromkeys(names))}: {_NOT_OURS}"
        yield OptionReport(f"[{group}] *", "ignored", text)


def _messaging(name: str) -> tuple[_State, str]:
    if find_spec("oslo_messaging") is None:
        return "ignored", "oslo.messaging is not installed; pip install 'vncproxy[openstack]'"
    return "understood", "by oslo.messaging"


def _shown(option: cfg.Opt, value: object) -> str:
    if value is None:
        return "unset"
    if option.secret:
        return "***"
    # A URL, or a database's parameters, may hold a password too.
    return without_secrets(", ".join(map(str, value)) if isinstance(value, tuple) else str(value))


def _known() -> Iterator[tuple[tuple[str, str], tuple[cfg.Opt, str]]]:
    """Give every name, old ones too, with its option and how that is called now."""
    for group, options in OPTIONS.items():
        for option in options:
            now = f"[{group}] {option.dest}"
            for old in option.deprecated_opts:
                name = (old.name or option.dest).replace("-", "_")
                yield (old.group or group, name), (option, now)
            yield (group, option.dest), (option, now)


def _place(label: str) -> tuple[str, str]:
    group, _, name = label.removeprefix("[").partition("] ")
    return group, name


def _names_of(group: str) -> list[str]:
    return [name for known_group, name in (*_KNOWN, *REASONS) if known_group == group]


_KNOWN = dict(_known())
# Of these groups every option of nova's has a reason of its own; [DEFAULT] is all services'.
_WHOLLY_KNOWN = frozenset(OPTIONS) - {"DEFAULT", "vncproxy"}
