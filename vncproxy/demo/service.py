"""The demo console as a part of the gateway: its server, and a link that opens it."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.tcp import Port
from twisted.logger import Logger
from typing_extensions import override

from vncproxy.demo.rfb_server import DemoConsoleFactory
from vncproxy.model import NO_INSTANCE
from vncproxy.tokens.issue import Issued, TokenIssuer
from vncproxy.tokens.table import TokenTable

_LINK_LIVES_S = 24 * 3600


class DemoConsole(Service):
    """Serves the demo console on a free loopback port, and prints the URL that opens it.

    Args:
        reactor: listens.
        table: the link's token is kept there while the service runs.
        base_urls: of the pages that show consoles, by console type.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401
        table: TokenTable,
        base_urls: Mapping[str, str],
    ) -> None:
        self._reactor = reactor
        self._table = table
        self._issuer = TokenIssuer(table, time.time, base_urls)
        self._port: Port | None = None
        self._issued: Issued | None = None

    @override
    def startService(self) -> None:
        super().startService()
        Deferred.fromCoroutine(self._start()).addErrback(
            lambda failure: self._log.failure("the demo console could not be started", failure)
        )

    async def _start(self) -> None:
        factory = DemoConsoleFactory(self._reactor, datetime.datetime.now)
        endpoint = TCP4ServerEndpoint(self._reactor, 0, interface="127.0.0.1")
        listening: Deferred[Port] = endpoint.listen(factory)
        self._port = await listening
        port = self._port.getHost().port
        self._issued = self._issuer.issue("novnc", "127.0.0.1", port, NO_INSTANCE, _LINK_LIVES_S)
        # Not through the log: the link holds a token.
        terminal = sys.__stdout__ or sys.stdout
        terminal.write(f"\nOpen the demo console in a browser:\n\n    {self._issued.url}\n\n")
        terminal.flush()

    @override
    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._issued is not None:
            self._table.revoke(self._issued.token.hash)
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
