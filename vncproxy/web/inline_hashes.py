"""Hashes of a page's inline scripts and styles, for its Content-Security-Policy. Pure."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser

from typing_extensions import override


def inline_hashes(html: str) -> list[str]:
    """Return the CSP sources of a page's inline scripts and styles, as ``'sha256-...'``.

    Those in attributes, which spice-html5's page has, need ``'unsafe-hashes'`` besides.
    """
    parser = _InlineContent()
    parser.feed(html)
    digests = [hashlib.sha256(t.encode()).digest() for t in (*parser.found, *parser.attributes)]
    hashes = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    return [*hashes, "'unsafe-hashes'"] if parser.attributes else hashes


class _InlineContent(HTMLParser):
    """Collects what stands between <script> or <style> and its end, and onclick and its like."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[str] = []
        self.attributes: list[str] = []
        self._inside = False

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "style" or (tag == "script" and "src" not in dict(attrs))
        self.attributes += [
            text for name, text in attrs if text and (name == "style" or name.startswith("on"))
        ]

    @override
    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found.append(data)

    @override
    def handle_endtag(self, tag: str) -> None:
        self._inside = False
