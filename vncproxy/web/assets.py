"""Static files: noVNC's, and those of our own page. No listing, no redirect, no way out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from twisted.web.http import CACHED
from twisted.web.resource import IResource
from twisted.web.server import Request
from twisted.web.static import File, getTypeAndEncoding
from typing_extensions import override

from vncproxy.web.answers import allow_page_content
from vncproxy.web.inline_hashes import inline_hashes

_TYPES = {
    **File.contentTypes,
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}


class Files(File):
    """A directory of public files.

    Args:
        path: of the directory, or of a file below it.
        frame_ancestors: who may frame the pages among them.
        inline_styles: whether scripts of the pages may make style sheets, as xterm.js does.
    """

    def __init__(
        self,
        path: str | Path,
        frame_ancestors: Sequence[str] = (),
        inline_styles: bool = False,
    ) -> None:
        super().__init__(str(path), defaultType="application/octet-stream")
        self._frame_ancestors = tuple(frame_ancestors)
        self._inline_styles = inline_styles

    @override
    def getChild(self, path: bytes, request: Request) -> IResource:
        if path.startswith(b".") or not _is_plain_name(path):
            return self.childNotFound
        child: IResource = super().getChild(path, request)
        return child

    @override
    def createSimilarFile(self, path: str) -> Files:
        similar = type(self)(path, self._frame_ancestors, self._inline_styles)
        similar.processors = self.processors
        similar.childNotFound = self.childNotFound
        return similar

    @override
    def directoryListing(self) -> IResource:
        return self.childNotFound

    @override
    def redirect(self, request: Request) -> bytes:
        """Answer 404: a directory's Location, built from the path, could name another host."""
        body: bytes = self.childNotFound.render(request)
        return body

    @override
    def render_GET(self, request: Request) -> bytes:
        self.restat(False)
        if not self.isfile():
            return self.redirect(request)
        content: bytes = self.getContent()
        request.setHeader(b"content-type", self._content_type().encode())
        # A new noVNC must not be mixed with the old; only the content tells them apart, because
        # npm dates all files 1985.
        request.setHeader(b"cache-control", b"no-cache")
        digest = hashlib.sha256(content).hexdigest()[:20]
        if request.setETag(f'"{digest}"'.encode()) is CACHED:
            return b""
        if self.path.endswith(".html"):
            hashes = inline_hashes(content.decode("utf-8", "replace"))
            allow_page_content(request, self._frame_ancestors, hashes, self._inline_styles)
        return content

    render_HEAD = render_GET

    def _content_type(self) -> str:
        found: str = getTypeAndEncoding(self.path, _TYPES, {}, self.defaultType)[0]
        return found


def _is_plain_name(path: bytes) -> bool:
    try:
        return "\0" not in path.decode()
    except UnicodeDecodeError:
        return False
