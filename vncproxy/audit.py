"""The audit log: a JSON object a line for each refusal, start and end of a session.

docs/audit-schema.json says what a line holds. Each line is one ``write`` on a file opened for
appending, so that several processes may write the same file.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from vncproxy.config.read import ConfigError
from vncproxy.errors import AuditUnavailable
from vncproxy.model import Grant, SessionFacts
from vncproxy.redaction import without_secrets

_MODE = 0o640


class AuditFile:
    """A file that lines are appended to, opened anew where it was moved.

    Args:
        path: of the file.

    Raises:
        ConfigError: it can't be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._cut = False
        try:
            self._descriptor = self._open()
        except OSError as error:
            raise ConfigError(
                f"[vncproxy] audit_log: can't write {path}: {error.strerror}; name another file"
            ) from error

    def append(self, line: bytes) -> None:
        """Write a line, which has no end of line yet.

        Raises:
            OSError: it is not written, or not whole.
        """
        self._follow()
        # Behind a line that was cut by a full disk a new one begins.
        data = b"\n" * self._cut + line + b"\n"
        written = os.write(self._descriptor, data)
        self._cut = written < len(data)
        if self._cut:
            raise OSError(f"only {written} of {len(data)} bytes of a line were written")

    def close(self) -> None:
        """Write no more."""
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)

    def _follow(self) -> None:
        """Open the file anew if it is not the one that is open: it was rotated."""
        ours = os.fstat(self._descriptor)
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            fresh = self._open()
            os.close(self._descriptor)
            self._descriptor, self._cut = fresh, False


class Audit:
    """Writes sessions' edges into the audit log (see ``interfaces.SessionObserver``).

    It is an ``interfaces.GrantCheck`` too, which refuses consoles while nothing can be written.

    Args:
        append: writes a line, or raises what prevents it.
        now: the current time in Unix seconds.
        lost: called for each line that could not be written.
        required: whether a session must not begin without its line.
    """

    _log = Logger()

    def __init__(
        self,
        append: Callable[[bytes], None],
        now: Callable[[], float],
        lost: Callable[[], None] = lambda: None,
        required: bool = False,
    ) -> None:
        self._append = append
        self._now = now
        self._on_loss = lost
        self._required = required
        self._node = socket.gethostname()
        self._lost = 0

    def started(self, facts: SessionFacts) -> None:
        """Write that a session has begun.

        Raises:
            AuditUnavailable: that could not be written, and it must be.
        """
        self._write("started", facts)
        if self._required and self._lost:
            raise AuditUnavailable("its start can't be written into the audit log: see above")

    def ended(self, facts: SessionFacts) -> None:
        """Write how it was, and why it ended."""
        self._write("ended", facts)

    def refused(self, facts: SessionFacts) -> None:
        """Write who was refused, and why."""
        self._write("refused", facts)

    def check(self, grant: Grant) -> Deferred[None]:
        """Fail with ``AuditUnavailable`` if the last line could not be written."""
        if self._lost:
            return fail(AuditUnavailable("the audit log can't be written: see above"))
        return succeed(None)

    def _write(self, event: str, facts: SessionFacts) -> None:
        line = self._line(event, facts)
        try:
            self._append(json.dumps(line).encode())
        except Exception as error:  # whatever a file system raises, the line is not there
            self._lost += 1
            self._on_loss()
            if self._lost == 1:
                self._log.critical(
                    "the audit log can't be written: {reason}; free its disk, or check its "
                    "directory. The lines of all sessions are lost until then",
                    reason=getattr(error, "strerror", None) or error,
                )
            return
        if self._lost:
            self._log.warn("the audit log is written again; {lost} lines are lost", lost=self._lost)
            self._lost = 0

    def _line(self, event: str, facts: SessionFacts) -> dict[str, object]:
        time = datetime.datetime.fromtimestamp(self._now(), datetime.UTC)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds"),
            "event": event,
            "node": self._node,
            "request_id": facts.request_id,
            "client": facts.client,
        }
        if facts.client_certificate is not None:
            line["client_certificate"] = facts.client_certificate
        if facts.grant is not None:
            line |= {
                "instance": facts.grant.instance_uuid,
                "console_type": facts.grant.console_type,
                "target": facts.grant.target,
                "token": facts.grant.token_id,
            }
        if facts.ending is not None:
            # It may repeat what the client sent, such as an Origin.
            line |= {"reason": facts.ending.value, "detail": without_secrets(facts.detail)}
        if event == "ended":
            line |= {
                "seconds": round(facts.seconds, 3),
                "bytes_to_client": facts.bytes_to_client,
                "bytes_to_server": facts.bytes_to_server,
            }
        return line
