"""The API's listener: its HTTP side, and the page for people on top."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource, Resource, getChildForRequest
from twisted.web.server import Request, Site
from typing_extensions import override

from vncproxy.console_api.call import LARGEST_BODY
from vncproxy.web.answers import set_common_headers
from vncproxy.web.assets import Files

_PAGE = Path(__file__).parent / "page"
_CONSOLE_PAGE = Path(__file__).parents[1] / "web/page"
_MOST_DISCARDED = 32 * 1024 * 1024


class BoundedRequest(Request):
    """A request whose body is thrown away, as it comes, once it is larger than any of ours.

    Attributes:
        too_large: whether it was.
    """

    too_large = False
    _received = 0

    @override
    def gotLength(self, length: int | None) -> None:
        self.too_large = length is not None and length > LARGEST_BODY
        super().gotLength(0 if self.too_large else length)

    @override
    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > LARGEST_BODY:
            self.too_large = True
        if self._received > _MOST_DISCARDED:
            self.loseConnection()
        if not self.too_large:
            super().handleContentChunk(data)


class ApiSite(Site):
    """The HTTP/1.1 side of the API's listener.

    Args:
        api: answers programs.
        timeout_s: seconds for a client to send a request.
        clock: runs that time-out.
    """

    noisy = False

    def __init__(self, api: Resource, timeout_s: float, clock: IReactorTime) -> None:
        super().__init__(api, requestFactory=BoundedRequest, timeout=timeout_s, reactor=clock)
        self._pages = Resource()
        self._pages.putChild(b"", Files(_PAGE / "servers.html"))
        assets = Files(_PAGE)
        assets.putChild(b"icon.svg", Files(_CONSOLE_PAGE / "icon.svg"))
        self._pages.putChild(b"api-assets", assets)

    @override
    def getResourceFor(self, request: Request) -> IResource:
        set_common_headers(request, ())
        resource: IResource
        request.setHeader("Vary", "Accept")
        if _is_for_people(request):
            resource = getChildForRequest(self._pages, request)
        else:
            resource = super().getResourceFor(request)
        return resource

    @override
    def log(self, request: HTTPRequest) -> None:
        """Log nothing: the API has its own line, with who asked."""

    @override
    def acceptableProtocols(self) -> list[bytes]:
        """Offer HTTP/1.1 only, as the consoles' listeners do."""
        return [b"http/1.1"]


def _is_for_people(request: Request) -> bool:
    if request.method not in (b"GET", b"HEAD"):
        return False
    accepts_pages = "text/html" in (request.getHeader("accept") or "")
    return request.path.startswith(b"/api-assets/") or (request.path == b"/" and accepts_pages)
