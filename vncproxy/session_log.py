"""One line in the log at a session's start, one at its end, and one for each refusal."""

from __future__ import annotations

from twisted.logger import Logger, LogLevel

from vncproxy.errors import ANSWERS
from vncproxy.model import Ending, SessionFacts


class SessionLog:
    """Writes sessions to the log (see ``interfaces.SessionObserver``)."""

    _log = Logger(namespace="vncproxy.session")

    def started(self, facts: SessionFacts) -> None:
        """Write who opens what."""
        self._log.info(
            "{request_id} opens: {who} to instance {instance} at {target}, token {token_id}",
            **_names(facts),
        )

    def ended(self, facts: SessionFacts) -> None:
        """Write how it went, and why it ended."""
        self._log.emit(
            _level(facts),
            "{request_id} ended after {seconds:.1f} s: {ending}{because}; {who} to instance "
            "{instance} at {target}; {bytes_to_client} bytes to the client, {bytes_to_server} "
            "to the server",
            seconds=facts.seconds,
            bytes_to_client=facts.bytes_to_client,
            bytes_to_server=facts.bytes_to_server,
            **_names(facts),
        )

    def refused(self, facts: SessionFacts) -> None:
        """Write who was refused, and why."""
        self._log.emit(
            _level(facts), "{request_id} refused: {who}: {ending}{because}", **_names(facts)
        )


def describe(facts: SessionFacts, now: float) -> dict[str, object]:
    """Return what a list of live sessions shows of one, for JSON; no token.

    Args:
        facts: of the session.
        now: seconds of the clock that ``facts.started`` is of.
    """
    return {
        "request_id": facts.request_id,
        "client": facts.client,
        "instance": facts.instance,
        "target": facts.target,
        "token_id": facts.token_id,
        "seconds": round(now - facts.started, 1),
        "bytes_to_client": facts.bytes_to_client,
        "bytes_to_server": facts.bytes_to_server,
    }


def _level(facts: SessionFacts) -> LogLevel:
    level: LogLevel = LogLevel.levelWithName(ANSWERS[facts.ending or Ending.INTERNAL].level)
    return level


def _names(facts: SessionFacts) -> dict[str, str]:
    certificate = facts.client_certificate
    return {
        "request_id": facts.request_id,
        "client": facts.client,
        "client_certificate": "-" if certificate is None else certificate,
        "who": facts.client if certificate is None else f"{facts.client} ({certificate})",
        "instance": facts.instance,
        "target": facts.target,
        "token_id": facts.token_id,
        "ending": facts.ending.value if facts.ending else "-",
        "because": f" ({facts.detail})" if facts.detail else "",
    }
