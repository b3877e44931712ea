"""The API's listener: its HTTP side, and the page for people on top."""

from __future__ import annotations

from pathlib import Path

from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource, Resource, getChildForRequest
from twisted.web.server import Request
from typing_extensions import override

from vncproxy.web.assets import Files
from vncproxy.web.headers import text_of
from vncproxy.web.health import Healthz
from vncproxy.web.server import HardenedSite, Hardening

_PAGE = Path(__file__).parent / "page"
_CONSOLE_PAGE = Path(__file__).parents[1] / "web/page"


class ApiSite(HardenedSite):
    """The HTTP/1.1 side of the API's listener.

    Args:
        api: answers programs.
        hardening: of its connections.
    """

    def __init__(self, api: Resource, hardening: Hardening) -> None:
        super().__init__(api, hardening)
        self._pages = Resource()
        assets = Files(_PAGE)
        self._pages.putChild(b"", assets.one("servers.html"))
        assets.putChild(b"icon.svg", Files(_CONSOLE_PAGE).one("icon.svg"))
        self._pages.putChild(b"api-assets", assets)

    @override
    def resource_for(self, request: Request) -> IResource:
        if request.path == b"/healthz":
            return Healthz()
        request.setHeader("Vary", "Accept")
        if _is_for_people(request):
            page: IResource = getChildForRequest(self._pages, request)
            return page
        return super().resource_for(request)

    @override
    def log(self, request: HTTPRequest) -> None:
        """Log nothing: the API has its own line, with who asked."""


def _is_for_people(request: Request) -> bool:
    if request.method not in (b"GET", b"HEAD"):
        return False
    accepts_pages = "text/html" in (text_of(request, "accept") or "")
    return request.path.startswith(b"/api-assets/") or (request.path == b"/" and accepts_pages)
