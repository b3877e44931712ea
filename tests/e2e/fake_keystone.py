"""A Keystone that knows a few tokens, counts what it is asked, and answers when it is let."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PATIENCE_S = 60.0
_KIM = {"user": {"name": "kim", "id": "1f"}, "roles": [{"name": "admin"}]}


class FakeKeystone:
    """Listens on a loopback port until it is stopped.

    Attributes:
        asked: the callers' tokens that it was shown.
        good: those that it knows: an administrator's.
        answering: answers about callers' tokens wait for this; set at first.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.good: set[str] = set()
        self.answering = threading.Event()
        self.answering.set()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.keystone = self
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def authtoken(self) -> str:
        """The section of the gateway's configuration that names it."""
        return (
            f"[keystone_authtoken]\nauth_url = http://127.0.0.1:{self._server.server_port}/v3\n"
            "username = vncproxy\npassword = p\nproject_name = service\n"
            "user_domain_id = default\nproject_domain_id = default\n"
        )

    def stop(self) -> None:
        """Listen no more."""
        self.answering.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    keystone: FakeKeystone
    daemon_threads = True
    request_queue_size = 100

    def handle_error(self, *_request: object) -> None:
        """Say nothing: who asked has not waited for the answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        keystone = self.server.keystone
        token = self.headers.get("X-Subject-Token")
        if token is None:
            version = {"id": "v3.14", "status": "stable", "links": self._links()}
            self._answer(200, {"version": version})
            return
        keystone.asked.append(token)
        keystone.answering.wait(_PATIENCE_S)
        good = token in keystone.good
        self._answer(200 if good else 404, {"token": _KIM} if good else {"error": {"code": 404}})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        token = {"expires_at": "2099-01-01T00:00:00.000000Z", "issued_at": "2026-01-01T00:00:00Z"}
        self._answer(201, {"token": {**token, **_KIM, "methods": ["password"]}})

    def log_message(self, *_line: object) -> None:
        """Say nothing."""

    def _links(self) -> list[dict[str, str]]:
        return [{"rel": "self", "href": f"http://127.0.0.1:{self.server.server_port}/v3"}]

    def _answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Subject-Token", "gateways-own")
        self.end_headers()
        self.wfile.write(data)
