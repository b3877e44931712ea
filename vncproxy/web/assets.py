"""Static files: noVNC's, and those of our own page. No listing, no redirect, no way out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.interfaces import IPushProducer
from twisted.web.http import NOT_MODIFIED
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.static import File, getTypeAndEncoding
from typing_extensions import override
from zope.interface import implementer

from vncproxy.web.answers import allow_page_content, text_answer
from vncproxy.web.directory import Directory, FileChanged, KnownFile, NoSuchFile

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
_UNKNOWN_TYPE = "application/octet-stream"


class Files(Resource):
    """A directory of public files.

    Args:
        path: of the directory.
        frame_ancestors: who may frame the pages among them.
        inline_styles: whether scripts of the pages may make style sheets, as xterm.js does.
    """

    def __init__(
        self,
        path: str | Path,
        frame_ancestors: Sequence[str] = (),
        inline_styles: bool = False,
    ) -> None:
        super().__init__()
        self._directory = Directory(path)
        self._frame_ancestors = tuple(frame_ancestors)
        self._inline_styles = inline_styles

    @override
    def getChild(self, path: bytes, request: Request) -> IResource:
        """Return what answers for all of the path: its segments are judged together."""
        rest = list(request.postpath or ())
        request.postpath = []
        return self._resource([path, *rest])

    def one(self, name: str) -> Resource:
        """Return the resource of one of the files, for a path of its own."""
        return _OneFile(self._resource([name.encode()]))

    @override
    def render(self, request: Request) -> bytes:
        """Answer for the directory itself."""
        return _not_found(request)

    def _resource(self, segments: Sequence[bytes]) -> IResource:
        return _FileResource(self._directory, segments, self._frame_ancestors, self._inline_styles)


class _OneFile(Resource):
    """Stands for a file where nothing is below it."""

    def __init__(self, file: IResource) -> None:
        super().__init__()
        self._file = file

    @override
    def render(self, request: Request) -> bytes | int:
        rendered: bytes | int = self._file.render(request)
        return rendered


class _FileResource(Resource):
    """Answers with a file, as it is then."""

    isLeaf = True

    def __init__(
        self,
        directory: Directory,
        segments: Sequence[bytes],
        frame_ancestors: tuple[str, ...],
        inline_styles: bool,
    ) -> None:
        super().__init__()
        self._directory = directory
        self._segments = segments
        self._frame_ancestors = frame_ancestors
        self._inline_styles = inline_styles

    def render_GET(self, request: Request) -> bytes | int:
        """Answer; a 304 has the headers of the 200 in whose place it stands (RFC 9110 §15.4.5)."""
        try:
            file = self._directory.find(self._segments)
        except NoSuchFile:
            return _not_found(request)
        except OSError:
            request.setHeader(b"retry-after", b"1")
            return text_answer(request, 503, "This can't be read now; try again.")
        self._set_headers(request, file)
        if _has_it(request, file.etag):
            request.setResponseCode(NOT_MODIFIED)
        else:
            request.setHeader(b"content-length", b"%d" % file.stamp.size)
            if request.method != b"HEAD" and file.stamp.size:
                _Sending(request, file).begin()
                return NOT_DONE_YET
        request.write(b"")
        request.finish()
        return NOT_DONE_YET

    def _set_headers(self, request: Request, file: KnownFile) -> None:
        name = os.fsdecode(file.path)
        content_type = getTypeAndEncoding(name, _TYPES, {}, _UNKNOWN_TYPE)[0]
        request.setHeader(b"content-type", content_type.encode())
        request.setHeader(b"etag", file.etag)
        # A new noVNC must not be mixed with the old; only the content tells them apart, because
        # npm dates all files 1985.
        request.setHeader(b"cache-control", b"no-cache")
        if name.endswith(".html"):
            allow_page_content(
                request, self._frame_ancestors, file.inline_hashes, self._inline_styles
            )


def _not_found(request: Request) -> bytes:
    return text_answer(request, 404, "There is no such file.")


def _has_it(request: Request, etag: bytes) -> bool:
    """Return whether the client has this content (RFC 9110 §13.1.2)."""
    lines = request.requestHeaders.getRawHeaders(b"if-none-match", [])
    tags = [tag.strip().removeprefix(b"W/") for tag in b",".join(lines).split(b",")]
    return etag in tags or b"*" in tags


@implementer(IPushProducer)
class _Sending:
    """Sends a file in pieces, as fast as the client reads it.

    Args:
        request: to answer.
        file: to send.
    """

    def __init__(self, request: Request, file: KnownFile) -> None:
        self._request = request
        self._file = file
        self._sent = 0
        self._paused = False

    def begin(self) -> None:
        """Send, until all is sent, or the client takes no more for now."""
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        while not self._paused:
            try:
                piece = self._file.read(self._sent)
            except (FileChanged, NoSuchFile, OSError):
                self._break_off()
                return
            self._sent += len(piece)
            self._request.write(piece)
            if self._sent == self._file.stamp.size:
                self.stopProducing()
                self._request.unregisterProducer()
                self._request.finish()

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True

    def _break_off(self) -> None:
        """Close: the client sees by the length that it has not got all."""
        self.stopProducing()
        self._request.unregisterProducer()
        self._request.loseConnection()
