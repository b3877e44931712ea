"""Who is told how long things take."""

from __future__ import annotations

from typing import Literal, Protocol

# Of a console's opening, in this order; "all" is from the request's arrival to the splice.
Phase = Literal["token", "check", "connect", "handshake", "all"]
Service = Literal["database", "rpc"]


class Measures(Protocol):
    """Takes measurements."""

    def took(self, phase: Phase, seconds: float) -> None:
        """Learn how long a phase of a console's opening took, which went well."""

    def called(self, service: Service, seconds: float, failed: bool) -> None:
        """Learn how long a call to another service took; failed: it gave no answer."""


class NoMeasures:
    """Takes them, and does nothing with them."""

    def took(self, phase: Phase, seconds: float) -> None:
        """Do nothing."""

    def called(self, service: Service, seconds: float, failed: bool) -> None:
        """Do nothing."""


NO_MEASURES = NoMeasures()
