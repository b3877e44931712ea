"""What balancers ask: whether the process lives (``/healthz``), whether to use it (``/readyz``)."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from vncproxy.readiness import Readiness
from vncproxy.web.answers import json_answer

_WORDS = {
    "ready": "New consoles can be opened.",
    "draining": "The gateway is stopping; open consoles go on for a while.",
    "database": "The token database does not answer.",
    "full": "There are as many consoles as this node may have.",
}
_UNKNOWN = {
    "status": "unknown",
    "message": "Whether consoles can be opened could not be found out.",
}


class Healthz(Resource):
    """Answers 200: that it does is the news."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """Answer."""
        return json_answer(request, 200, {"status": "alive"})


class Readyz(Resource):
    """Answers 200 when this node should get new consoles, else 503.

    Args:
        readiness: knows.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, readiness: Readiness) -> None:
        super().__init__()
        self._readiness = readiness

    def render_GET(self, request: Request) -> int:
        """Answer, when the database has."""
        answering = Deferred.fromCoroutine(self._answer(request))
        request.notifyFinish().addErrback(lambda _gone: answering.cancel())
        answering.addErrback(self._broke, request)
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        state = await self._readiness.state()
        status = 200 if state == "ready" else 503
        request.write(json_answer(request, status, {"status": state, "message": _WORDS[state]}))
        request.finish()

    def _broke(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError):  # whoever asked has gone
            return
        self._log.failure("/readyz could not be answered", failure)
        request.write(json_answer(request, 503, _UNKNOWN))
        request.finish()
