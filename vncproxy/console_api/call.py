"""One request to the API: what it says, and what is known of it by its end."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from twisted.web.server import Request

from vncproxy.console_api.callers import Caller
from vncproxy.console_api.faults import Fault
from vncproxy.console_api.versions import LOWEST, Microversion
from vncproxy.model import Token, new_request_id, token_id
from vncproxy.redaction import HIDDEN, shown_segment, without_secrets
from vncproxy.web.headers import text_of
from vncproxy.web.request import came_by_tls, host_of

TOKENS = "os-console-auth-tokens"
_COLLECTIONS = ("servers", TOKENS)
_PROJECT = re.compile(r"[0-9a-f-]{1,64}", re.IGNORECASE)
_LONGEST_SHOWN = 200
_WORD = re.compile(r"(?:[a-z][a-z_-]{0,39})?")  # no token has this form, which holds a digit


@dataclass(slots=True)
class Call:
    """A request, and what was found out about it.

    Attributes:
        request: of twisted.web.
        started: seconds of the clock when it came.
        path: its segments, decoded, without version and project.
        prefix: ``v2.1``, ``v2`` or "".
        request_id: its name, in the log and the answer.
        version: in use.
        caller: whose it is; None until that is known.
        found: whether the server that it names is one of the caller's.
        about: what it did, for the audit line.
    """

    request: Request
    started: float
    path: list[str]
    prefix: str
    request_id: str = field(default_factory=new_request_id)
    version: Microversion = LOWEST
    caller: Caller | None = None
    found: bool = False
    about: str = ""

    @property
    def client(self) -> str:
        """The client's address."""
        return getattr(self.request.getClientAddress(), "host", None) or "a local socket"

    @property
    def method(self) -> str:
        """GET also for HEAD, whose answer has no body."""
        method: str = self.request.method.decode("ascii", "replace")
        return "GET" if method == "HEAD" else method

    @property
    def asked(self) -> str | None:
        """The name or id of the server that the request is about; None where it is about none."""
        return self.path[1] if len(self.path) > 1 and self.path[0] == "servers" else None

    @property
    def shown_path(self) -> str:
        """The path for the log: no query, no token, no control character.

        Words stand in it as they are, and the server as far as it can't be a token that somebody
        has put there; whatever else there is, is named as tokens are, by the hash.
        """
        shown = [
            segment if _WORD.fullmatch(segment) else token_id(Token(segment).hash)
            for segment in self.path
        ]
        for place in range(1, len(shown)):
            if self.path[place - 1].lower() == TOKENS:
                shown[place] = token_id(Token(self.path[place]).hash)
        if self.asked is not None:
            shown[1] = quote(self.asked) if self.found else shown_segment(self.asked)
        return "/" + "/".join(shown)[:_LONGEST_SHOWN]

    def shown_about(self, text: str) -> str:
        """Return a text about the request for the log, without a token that it may repeat."""
        shown = shown_segment(self.asked) if self.asked and not self.found else ""
        if self.asked and HIDDEN in shown:
            text = text.replace(self.asked, shown)
        return without_secrets(text)

    @property
    def root(self) -> str:
        """URL of the API as the client knows it, without a slash at its end.

        Raises:
            Malformed: the request does not name one host, or one scheme.
        """
        host = host_of(self.request)
        scheme = "https" if came_by_tls(self.request) else "http"
        return f"{scheme}://{host.serialise() if host else 'localhost'}"

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of those that are repeated, the first."""
        return {
            name.decode("utf-8", "replace"): values[0].decode("utf-8", "replace")
            for name, values in self.request.args.items()
        }

    def json_body(self) -> bytes:
        """Return the body.

        Raises:
            Fault: it is not said to be JSON.
        """
        content_type = (text_of(self.request, "content-type") or "").partition(";")[0]
        if content_type.strip().lower() != "application/json":
            raise Fault(415, "The body must be of type application/json.")
        return self.request.content.read() if self.request.content else b""

    def answer(
        self, status: int, body: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> None:
        """Send an answer that nobody may keep."""
        request = self.request
        request.setResponseCode(status)
        request.setHeader("Content-Type", "application/json")
        request.setHeader("Cache-Control", "no-store")
        request.setHeader("X-OpenStack-Request-Id", self.request_id)
        request.setHeader("X-Compute-Request-Id", self.request_id)
        for name, value in (headers or {}).items():
            request.setHeader(name, value)
        data = json.dumps(body).encode() + b"\n"
        request.setHeader("Content-Length", str(len(data)))
        request.write(data)
        request.finish()


def call_of(request: Request, started: float) -> Call:
    """Return the request's call.

    Raises:
        UnicodeDecodeError: its path is no UTF-8.
    """
    path = [segment.decode() for segment in request.postpath or [b""]]
    prefix = path.pop(0) if path[0] in ("v2.1", "v2") else ""
    # Nova's older URLs name the project behind the version.
    if prefix and len(path) > 1 and path[0] not in _COLLECTIONS and _PROJECT.fullmatch(path[0]):
        path.pop(0)
    while len(path) > 1 and not path[-1]:
        path.pop()
    return Call(request, started, path or [""], prefix)
