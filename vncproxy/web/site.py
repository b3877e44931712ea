"""The web side of a listener: what answers which request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site
from typing_extensions import override

from vncproxy.limits.waiting import WaitingConnections
from vncproxy.web.answers import json_answer, set_common_headers
from vncproxy.web.assets import Files
from vncproxy.web.channel import ConsoleChannel
from vncproxy.web.forwarding import Forwarding
from vncproxy.web.lobby import Lobby
from vncproxy.web.request import wants_websocket

_PAGE = Path(__file__).parent / "page"
# The pages that nova's base URLs name; ours stands in for those that noVNC's directory lacks.
_PAGE_NAMES = ("vnc_auto.html", "vnc_lite.html", "vnc.html")
# Where a stock noVNC's WebSocket goes; a plain GET there asks for the verdict.
_WEBSOCKET_PATHS = (b"/", b"/websockify")


def page_tree(
    novnc: Path | None,
    frame_ancestors: Sequence[str],
    time_limits: Mapping[str, float] = MappingProxyType({}),
) -> Resource:
    """Return the resources of the plain requests: noVNC's files, and our page on top.

    Args:
        novnc: noVNC's directory; without one our page can only say that it is missing.
        frame_ancestors: who may frame the pages.
        time_limits: what the page warns of, in seconds.
    """
    root: Resource = Files(novnc, frame_ancestors) if novnc else Resource()
    page = Files(_PAGE / "console.html", frame_ancestors)
    root.putChild(b"", page)
    root.putChild(b"console", page)
    root.putChild(b"console-limits", _Json(time_limits))
    root.putChild(b"console-assets", Files(_PAGE, frame_ancestors))
    for name in _PAGE_NAMES:
        if novnc is None or not (novnc / name).is_file():
            root.putChild(name.encode(), page)
    return root


def serial_pages(xterm: Path | None, frame_ancestors: Sequence[str]) -> Resource:
    """Return the resources of the serial listener's plain requests: a terminal.

    Args:
        xterm: xterm.js's directory; without one the page can only say that it is missing.
        frame_ancestors: who may frame the page.
    """
    root = Resource()
    page = Files(_PAGE / "serial.html", frame_ancestors, inline_styles=True)
    root.putChild(b"", page)
    root.putChild(b"console", page)
    root.putChild(b"console-assets", Files(_PAGE, frame_ancestors))
    if xterm is not None:
        root.putChild(b"xterm", Files(xterm, frame_ancestors))
    return root


def spice_pages(spice: Path | None, frame_ancestors: Sequence[str]) -> Resource:
    """Return the resources of the SPICE listener's plain requests: spice-html5's files.

    Args:
        spice: spice-html5's directory; without one there are no pages.
        frame_ancestors: who may frame them.
    """
    if spice is None:
        return Resource()
    root = Files(spice, frame_ancestors)
    root.putChild(b"", Files(spice / "spice_auto.html", frame_ancestors))
    return root


class ConsoleSite(Site):
    """A listener's HTTP/1.1 side.

    Attributes:
        lobby: knows the connections that are no console's; to be stopped after the listeners.

    Args:
        pages: answer plain requests.
        upgrade: answers every request for a WebSocket, whatever its path.
        verdict: answers, in JSON, plain requests with a token.
        frame_ancestors: who may frame the pages.
        timeout_s: seconds for a client to send a request.
        clock: runs that time-out.
        forwarding: decides what of balancers' headers is believed.
        waiting: counts the connections without a session.
        max_request_size: bytes of a request's first line and headers.
    """

    noisy = False
    protocol = ConsoleChannel  # type: ignore[assignment]  # Twisted expects its choice of HTTP/2
    _log = Logger()

    def __init__(
        self,
        pages: Resource,
        upgrade: Resource,
        verdict: Resource,
        frame_ancestors: Sequence[str],
        timeout_s: float,
        clock: IReactorTime,
        forwarding: Forwarding,
        waiting: WaitingConnections,
        max_request_size: int = 16384,
    ) -> None:
        super().__init__(pages, timeout=timeout_s, reactor=clock)
        self.waiting = waiting
        self._max_request_size = max_request_size
        self._upgrade = upgrade
        self._verdict = verdict
        self._frame_ancestors = tuple(frame_ancestors)
        self._forwarding = forwarding
        self.lobby = Lobby(clock)

    @override
    def buildProtocol(self, addr: IAddress | None) -> Any:
        channel: Any = ConsoleChannel(
            self.waiting, self.lobby, self.reactor, self._max_request_size
        )
        channel.factory = channel.site = self
        channel.requestFactory = self.requestFactory
        channel.timeOut = self.timeOut
        channel.callLater = self.reactor.callLater
        return channel

    @override
    def getResourceFor(self, request: Request) -> IResource:
        set_common_headers(request, self._frame_ancestors)
        self._forwarding.apply(request)
        if wants_websocket(request):
            return self._upgrade
        if request.method not in (b"GET", b"HEAD"):
            return _MethodNotAllowed()
        if _asks_for_verdict(request):
            return self._verdict
        resource: IResource = super().getResourceFor(request)
        return resource

    @override
    def log(self, request: HTTPRequest) -> None:
        """Log an answered request; its query, which may hold a token, is left out."""
        self._log.debug(
            "{client} {method} {path} {status}",
            client=getattr(request.getClientAddress(), "host", "-"),
            method=request.method.decode("ascii", "replace"),
            path=request.path.decode("utf-8", "replace"),
            status=request.code,
        )

    @override
    def acceptableProtocols(self) -> list[bytes]:
        """Offer HTTP/1.1 only: Twisted has no WebSocket over HTTP/2."""
        return [b"http/1.1"]


def _asks_for_verdict(request: Request) -> bool:
    if b"token" not in request.args:
        return False
    accepted = request.getHeader("accept") or ""
    if "text/html" in accepted:  # somebody opens the page
        return False
    return "application/json" in accepted or request.path in _WEBSOCKET_PATHS


class _Json(Resource):
    """Answers with an object that never changes."""

    isLeaf = True

    def __init__(self, body: Mapping[str, object]) -> None:
        super().__init__()
        self._body = body

    @override
    def render(self, request: Request) -> bytes:
        return json_answer(request, 200, self._body)


class _MethodNotAllowed(Resource):
    """Answers 405 in JSON; Twisted's own page would repeat the URL, and with it the token."""

    isLeaf = True

    @override
    def render(self, request: Request) -> bytes:
        request.setHeader(b"allow", b"GET, HEAD")
        return json_answer(request, 405, {"code": "method-not-allowed", "message": "Use GET."})
