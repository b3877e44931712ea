"""Where the log goes and what a line of it looks like; no token gets into one."""

from __future__ import annotations

import datetime
import json
import os
import re
import sys
from collections.abc import Callable
from typing import TextIO

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatEventAsClassicLogText,
)
from zope.interface import implementer

from vncproxy.config.read import ConfigError
from vncproxy.redaction import without_secrets
from vncproxy.reload import Part

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but for ends of lines, and tabs
_MODE = 0o640  # of a new file: hosts, machines and clients stand in it


@implementer(ILogObserver)
class GatewayLog:
    """What writes the gateway's log.

    Args:
        path: file to append to; None or "-" for standard output.
        use_json: one JSON object a line, instead of Twisted's classic line.
        debug: whether to write debug events too.
        worker: number of this process, which its lines then name; None where there is one only.

    Raises:
        ConfigError: the file can't be opened.
    """

    def __init__(
        self, path: str | None, use_json: bool, debug: bool, worker: int | None = None
    ) -> None:
        to_line: Callable[[LogEvent], str | None] = _json_line if use_json else _text_line
        if worker is not None:
            to_line = _of_worker(worker, to_line)
        self._to_line = _without_tokens(to_line)
        self._stdout = sys.stdout  # twistd will put its own in its place, which writes to the log
        self._file = self._stdout
        self.reopen(path, debug)

    def __call__(self, event: LogEvent) -> None:
        """Write an event's line."""
        self._write(event)

    def reopen(self, path: str | None, debug: bool) -> None:
        """Write to this file, opened anew because the old one may have been moved away.

        Raises:
            ConfigError: it can't be opened; then the log stays where it was.
        """
        to_stdout = path in (None, "-")
        before, self._file = self._file, self._stdout if to_stdout else _open(str(path))
        level = LogLevel.debug if debug else LogLevel.info
        self._write = FilteringLogObserver(
            FileLogObserver(self._file, self._to_line), [LogLevelFilterPredicate(level)]
        )
        if before is not self._stdout:
            before.close()

    def part(self, twistds_path: str | None) -> Part:
        """Return what a reload changes here, where twistd's own flag names this file, or none."""
        return Part(
            ("[DEFAULT] log_file", "[DEFAULT] debug"),
            lambda new: self.reopen(new.default.log_file or twistds_path, new.default.debug),
        )


def _open(path: str) -> TextIO:
    try:
        return open(path, "a", encoding="utf-8", buffering=1, opener=_opened)  # until the end
    except OSError as error:
        raise ConfigError(
            f"[DEFAULT] log_file: can't write {path}: {error.strerror}; name another file"
        ) from error


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags, _MODE)


def _without_tokens(to_line: Callable[[LogEvent], str | None]) -> Callable[[LogEvent], str | None]:
    # Ours never log one; this is for the lines of others, who may log a request's URL.
    def line(event: LogEvent) -> str | None:
        text = to_line(event)
        return without_secrets(text) if text else text

    return line


def _of_worker(
    number: int, to_line: Callable[[LogEvent], str | None]
) -> Callable[[LogEvent], str | None]:
    return lambda event: to_line({**event, "worker": number})


def _text_line(event: LogEvent) -> str | None:
    line = formatEventAsClassicLogText(event)
    if line:  # what a terminal would obey, from whoever chose a name that stands here
        line = _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", line)
    if line and "worker" in event:
        return line.replace("[", f"[worker {event['worker']} ", 1)
    return line


def _json_line(event: LogEvent) -> str:
    """Return the event as one JSON object: when, what, and the event's own fields."""
    time = datetime.datetime.fromtimestamp(event["log_time"], datetime.UTC)
    level = event.get("log_level")
    line: dict[str, object] = {
        "time": time.isoformat(timespec="milliseconds"),
        "level": level.name if level else "info",
        "logger": event.get("log_namespace", "-"),
        "message": formatEvent(event),
    }
    failure = event.get("log_failure")
    if failure is not None:
        line["traceback"] = failure.getTraceback()
    for name, value in event.items():
        if isinstance(value, str | int | float) and not name.startswith("log_"):
            line.setdefault(name, value)
    return json.dumps(line) + "\n"
