"""The web side of a listener: what answers which request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from twisted.web.resource import IResource, Resource
from twisted.web.server import Request
from typing_extensions import override

from vncproxy.web.answers import json_answer
from vncproxy.web.assets import Files
from vncproxy.web.headers import text_of
from vncproxy.web.request import wants_websocket
from vncproxy.web.server import HardenedSite, Hardening

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
    assets = Files(_PAGE, frame_ancestors)
    page = assets.one("console.html")
    root.putChild(b"", page)
    root.putChild(b"console", page)
    root.putChild(b"console-limits", _Json(time_limits))
    root.putChild(b"console-assets", assets)
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
    assets = Files(_PAGE, frame_ancestors, inline_styles=True)
    page = assets.one("serial.html")
    root.putChild(b"", page)
    root.putChild(b"console", page)
    root.putChild(b"console-assets", assets)
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
    root.putChild(b"", root.one("spice_auto.html"))
    return root


class ConsoleSite(HardenedSite):
    """The site of a kind of consoles.

    Args:
        pages: answer plain requests.
        upgrade: answers every request for a WebSocket, whatever its path.
        verdict: answers, in JSON, plain requests with a token.
        hardening: of its connections.
        frame_ancestors: who may frame the pages.
    """

    judges_upgrades = True

    def __init__(
        self,
        pages: Resource,
        upgrade: Resource,
        verdict: Resource,
        hardening: Hardening,
        frame_ancestors: Sequence[str],
    ) -> None:
        super().__init__(pages, hardening, frame_ancestors)
        self._upgrade = upgrade
        self._verdict = verdict

    @override
    def resource_for(self, request: Request) -> IResource:
        if wants_websocket(request):
            return self._upgrade
        if request.method not in (b"GET", b"HEAD"):
            return _MethodNotAllowed()
        if _asks_for_verdict(request):
            return self._verdict
        return super().resource_for(request)


def _asks_for_verdict(request: Request) -> bool:
    if b"token" not in request.args:
        return False
    accepted = text_of(request, "accept") or ""
    if "text/html" in accepted:  # somebody opens the page
        return False
    return "application/json" in accepted or request.path in _WEBSOCKET_PATHS


class _Json(Resource):
    """Answers with an object that never changes."""

    isLeaf = True

    def __init__(self, body: Mapping[str, object]) -> None:
        super().__init__()
        self._body = dict(body)

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
