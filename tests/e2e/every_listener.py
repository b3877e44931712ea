"""A gateway that listens in every way it can, and an honest visit to each of its listeners."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e import fake_targets
from tests.e2e.certificates import write_certificate
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.handmade import PATIENCE_S, open_console, trusting
from tests.e2e.programs import Gateway, free_port

PROXY_HEADER = b"PROXY TCP4 198.51.100.7 127.0.0.1 50000 6080\r\n"
_OPTIONS = {"listen": "consoles", "api_listen": "api", "metrics_listen": "metrics"}
_PLACES = (
    ("listen", ""),
    ("listen", "https:"),
    ("listen", "haproxy:"),
    ("listen", "haproxy:https:"),
    ("api_listen", ""),
    ("api_listen", "https:"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A listener.

    Attributes:
        option: that names it.
        words: before its endpoint.
        port: of loopback.
    """

    option: str
    words: str
    port: int

    @property
    def name(self) -> str:
        """Its name in a report."""
        return f"{self.option} = {self.words}tcp"

    @property
    def kind(self) -> str:
        """The metrics' label of what is served there."""
        return _OPTIONS[self.option]

    @property
    def first_bytes(self) -> bytes:
        """What a client sends before TLS, or HTTP, begins."""
        return PROXY_HEADER if "haproxy:" in self.words else b""

    @property
    def speaks_tls(self) -> bool:
        """Whether a client begins TLS."""
        return "https:" in self.words


class EveryListener:
    """A running gateway with all of them.

    Attributes:
        gateway: it.
        places: its listeners; the plain one is the first, the metrics' the last.
        console_url: opens a console at the plain one.

    Args:
        options: more lines of ``[vncproxy]``.
        metrics: the words before the metrics' endpoint.
        ssl_only: whether consoles are served by TLS only; then there are no listeners without.
    """

    def __init__(
        self,
        options: dict[str, object] | None = None,
        metrics: str = "",
        ssl_only: bool = False,
    ) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="vncproxy-test-"))
        self.cert = self._directory / "cert.pem"
        write_certificate(self.cert)
        inventory = self._directory / "servers.yaml"
        inventory.write_text("servers: []\n")
        self._target = FakeTarget(fake_targets.echo)
        self.places = [
            Place(option, words, free_port())
            for option, words in (*_PLACES, ("metrics_listen", metrics))
            if "https:" in words or not ssl_only
        ]
        # Behind each other they would wait for the kernel, not for the gateway.
        listeners = "".join(
            f"{it.option} = {it.words}tcp:{it.port}:interface=127.0.0.1:backlog=4096\n"
            for it in self.places
        )
        here = f"http://127.0.0.1:{self.places[0].port}"
        self.gateway = Gateway(
            {
                "trusted_proxies": "127.0.0.1",
                "compute_driver": "inventory",
                "inventory_file": inventory,
                "api_auth": "none",
                "max_sessions_per_token": 0,  # all visits are made with one
                **(options or {}),
            },
            flags=("--ssl_only",) * ssl_only,
            cert=self.cert,
            more=f"{listeners}[vnc]\nnovncproxy_base_url = {here}/console\n",
        )
        self.gateway.program.wait_for(rf"listening on .*tcp:{self.places[-2].port}:")  # the last
        self.console_url = self.gateway.console_url(self._target.port)
        self._path = f"/?token={self.console_url[-36:]}"

    def stop(self) -> None:
        """Stop it."""
        self.gateway.stop()
        self._target.stop()
        shutil.rmtree(self._directory)

    def connect(self, place: Place) -> socket.socket:
        """Return a connection by which HTTP can be spoken."""
        raw = socket.create_connection(("127.0.0.1", place.port), PATIENCE_S)
        try:
            raw.sendall(place.first_bytes)
            if not place.speaks_tls:
                return raw
            return trusting(self.cert).wrap_socket(raw, server_hostname="127.0.0.1")
        except BaseException:
            raw.close()
            raise

    @contextlib.contextmanager
    def visit(self, place: Place) -> Iterator[None]:
        """Open a console there, or ask for what else is served."""
        with self.connect(place) as connection:
            if place.kind == "consoles":
                open_console(connection, self._path)
            else:
                answer = self.ask(connection, place)
                assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 300 ")), answer[:99]
            yield

    def ask(self, connection: socket.socket, place: Place) -> bytes:
        """Return what it answers to a plain request, with which the connection ends."""
        path = {"consoles": "/healthz", "api": "/", "metrics": "/metrics"}[place.kind]
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer

    def pending(self, kind: str) -> float:
        """Return how many connections wait for this kind of listener, as the metrics say."""
        with self.connect(self.places[-1]) as connection:
            answer = self.ask(connection, self.places[-1])
        found = re.search(
            rb'vncproxy_unauthenticated_connections{listeners="%b"} (\S+)' % kind.encode(), answer
        )
        assert found is not None, answer
        return float(found[1])


def idle(every: EveryListener, place: Place, size: int) -> list[socket.socket]:
    """Return so many connections that ask for nothing: silent ones, and others that have begun."""
    began: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: place.first_bytes + (b"\x16\x03\x01" if place.speaks_tls else b"G"),
        lambda: place.first_bytes,
    ]
    connections = []
    for number in range(size):
        if number % 10 == 0:
            connections.append(every.connect(place))  # TLS and all, but no request
            continue
        connection = socket.create_connection(("127.0.0.1", place.port), PATIENCE_S)
        with contextlib.suppress(OSError):  # it had to give way already
            connection.sendall(began[number % 3]())
        connections.append(connection)
    return connections
