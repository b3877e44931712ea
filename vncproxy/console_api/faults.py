"""Refusals in nova's form: a status, and a key that holds code and words (facts of 3.1)."""

from __future__ import annotations

from collections.abc import Mapping

from vncproxy.compute.interface import (
    ComputeError,
    ConsoleTypeUnsupported,
    HostUnreachable,
    NoSuchConsole,
    ServerAmbiguous,
    ServerNotFound,
    ServerNotRunning,
)

_KEYS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
_STATUSES: dict[type[ComputeError], int] = {
    ServerNotFound: 404,
    ServerAmbiguous: 409,
    ServerNotRunning: 409,
    NoSuchConsole: 400,
    ConsoleTypeUnsupported: 400,
    HostUnreachable: 503,
}


class Fault(Exception):
    """A request that is refused; the message is for whoever made it.

    Args:
        status: of HTTP.
        message: what is wrong, and what to do.
        headers: more headers of the answer.
        for_operator: what the audit line says besides, or "".
    """

    def __init__(
        self,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        for_operator: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})
        self.for_operator = for_operator

    @property
    def body(self) -> dict[str, object]:
        """The answer's JSON."""
        key = _KEYS.get(self.status, "computeFault")
        return {key: {"code": self.status, "message": self.message}}


def fault_of(error: ComputeError) -> Fault:
    """Return what a look-up that failed is answered with."""
    status = next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), 500)
    return Fault(status, error.words, for_operator=str(error))
