"""Telling observers of sessions' edges and measures, whose own faults can't hurt a session."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.logger import Logger

from vncproxy.errors import GatewayError
from vncproxy.interfaces import SessionObserver
from vncproxy.measures import Measures, Phase, Service
from vncproxy.model import SessionFacts
from vncproxy.reason import reason_of


class Observers:
    """Passes each edge on to all (see ``interfaces.SessionObserver``).

    Args:
        observers: told in this order; the fault of one is logged, and the others still hear.
    """

    _log = Logger()

    def __init__(self, observers: Sequence[SessionObserver]) -> None:
        self._observers = tuple(observers)

    def started(self, facts: SessionFacts) -> None:
        """Pass on that a session's WebSocket is open.

        Raises:
            GatewayError: one of them says that it must not go on; all others have heard.
        """
        objection = self._tell(facts, [observer.started for observer in self._observers])
        if objection is not None:
            raise objection

    def ended(self, facts: SessionFacts) -> None:
        """Pass on that a session has ended."""
        self._tell(facts, [observer.ended for observer in self._observers])

    def refused(self, facts: SessionFacts) -> None:
        """Pass on that a request was refused."""
        self._tell(facts, [observer.refused for observer in self._observers])

    def _tell(
        self, facts: SessionFacts, listeners: Sequence[Callable[[SessionFacts], None]]
    ) -> GatewayError | None:
        objection: GatewayError | None = None
        for tell in listeners:
            try:
                tell(facts)
            except GatewayError as error:
                objection = objection or error
            except Exception:
                self._log.failure("an observer failed on {request_id}", request_id=facts.request_id)
        return objection


class HarmlessMeasures:
    """Passes each measurement on (see ``measures.Measures``); a fault of the taker's is logged.

    Args:
        measures: that take them.
    """

    _log = Logger()

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def took(self, phase: Phase, seconds: float) -> None:
        """Pass on how long a phase took."""
        self._tell(lambda: self._measures.took(phase, seconds))

    def called(self, service: Service, seconds: float, failed: bool) -> None:
        """Pass on how long a call took."""
        self._tell(lambda: self._measures.called(service, seconds, failed))

    def _tell(self, take: Callable[[], None]) -> None:
        try:
            take()
        except Exception as error:
            self._log.error("a measurement is lost: {reason}", reason=reason_of(error))
