"""Where the log goes and what a line of it looks like; no token gets into one."""

from __future__ import annotations

import datetime
import json
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

from vncproxy.config.read import ConfigError

# Ours never log one; this is for the lines of others, who may log a request's URL.
_TOKEN = re.compile(r"(token(?:=|%3D))[^&\s'\"<>]+", re.IGNORECASE)


def log_observer(
    path: str | None, use_json: bool, debug: bool, worker: int | None = None
) -> ILogObserver:
    """Return what writes the gateway's log.

    Args:
        path: file to append to; None or "-" for standard output.
        use_json: one JSON object a line, instead of Twisted's classic line.
        debug: whether to write debug events too.
        worker: number of this process, which its lines then name; None where there is one only.

    Raises:
        ConfigError: the file can't be opened.
    """
    to_line: Callable[[LogEvent], str | None] = _json_line if use_json else _text_line
    if worker is not None:
        to_line = _of_worker(worker, to_line)
    writer = FileLogObserver(_open(path), _without_tokens(to_line))
    level = LogLevel.debug if debug else LogLevel.info
    return FilteringLogObserver(writer, [LogLevelFilterPredicate(level)])


def _open(path: str | None) -> TextIO:
    if path in (None, "-"):
        return sys.stdout
    try:
        return open(path, "a", encoding="utf-8", buffering=1)  # open until the end
    except OSError as error:
        raise ConfigError(
            f"[DEFAULT] log_file: can't write {path}: {error.strerror}; name another file"
        ) from error


def _without_tokens(to_line: Callable[[LogEvent], str | None]) -> Callable[[LogEvent], str | None]:
    def line(event: LogEvent) -> str | None:
        text = to_line(event)
        return _TOKEN.sub(r"\1***", text) if text else text

    return line


def _of_worker(
    number: int, to_line: Callable[[LogEvent], str | None]
) -> Callable[[LogEvent], str | None]:
    return lambda event: to_line({**event, "worker": number})


def _text_line(event: LogEvent) -> str | None:
    line = formatEventAsClassicLogText(event)
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
