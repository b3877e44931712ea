"""How many consoles a second the API opens, and what that costs a console that is running.

    python bench/api.py

The gateway gets one core, with the inventory driver and SQLite. Fifty connections each send
`POST .../remote-consoles` as soon as the answer to the last one is there; then the same beside a
console that echoes, at the rate of 300 a second and again as fast as it goes. Every URL that was
answered must be a token of the database in the end. Prints one JSON object.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import selectors
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SERVER = "11111111-2222-4333-8444-555555555555"
_BODY = json.dumps({"remote_console": {"protocol": "vnc", "type": "novnc"}}).encode()
_CONNECTIONS = 50
_SECONDS = 5.0
_RATE = 300.0
_ECHO = b"8 bytes!"


def main() -> None:
    """Measure, and print the figures."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[:-1]) or set(cores))
    with (
        tempfile.TemporaryDirectory(prefix="vncproxy-bench-") as directory,
        _target() as target_port,
        _gateway(Path(directory), target_port, cores[-1]) as api_port,
    ):
        flood = Load(api_port, None)
        flood.run(_SECONDS)
        quiet = _beside(None, api_port)
        paced = Load(api_port, _RATE)
        busy = _beside(paced, api_port)
        again = Load(api_port, None)
        busiest = _beside(again, api_port)
        stored = _tokens_in(Path(directory))
    loads = (flood, paced, again)
    opened = sum(len(load.latencies_s) for load in loads)
    figures = {
        "connections": _CONNECTIONS,
        "posts_per_s": round(len(flood.latencies_s) / _SECONDS),
        "post_p99_ms": round(_p99(flood.latencies_s) * 1e3, 1),
        "failed": sum(load.failed for load in loads),
        # each echo opened one console more
        "answered_but_not_stored": opened + 3 - stored,
        "paced_posts_per_s": round(len(paced.latencies_s) / _SECONDS),
        "echo_p99_ms_without": round(_p99(quiet) * 1e3, 2),
        "echo_p99_ms_with": round(_p99(busy) * 1e3, 2),
        "echo_p99_ms_with_all_that_it_can": round(_p99(busiest) * 1e3, 2),
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]


@contextmanager
def _gateway(directory: Path, target_port: int, core: int) -> Iterator[int]:
    port, api_port = _free_port(), _free_port()
    (directory / "servers.yaml").write_text(
        f"servers: [{{name: web, id: {_SERVER}, consoles: {{novnc: '127.0.0.1:{target_port}'}}}}]\n"
    )
    config = directory / "vncproxy.conf"
    config.write_text(
        f"[vnc]\nnovncproxy_port = {port}\n[vncproxy]\nstate_path = {directory}/state\n"
        f"compute_driver = inventory\ninventory_file = {directory}/servers.yaml\n"
        f"api_listen = tcp:{api_port}:interface=127.0.0.1\napi_auth = none\napi_rate_limit = 0\n"
    )
    command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
    command += ["-n", "--pidfile=", "vncproxy", "--config-file", str(config)]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    try:
        _wait_for(api_port)
        yield api_port
    finally:
        process.terminate()
        process.wait(20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _tokens_in(directory: Path) -> int:
    with sqlite3.connect(directory / "state/vncproxy.sqlite") as database:
        count: int = database.execute("SELECT count(*) FROM console_auth_tokens").fetchone()[0]
        return count


class Load:
    """Fifty connections that open consoles.

    Args:
        port: of the API.
        rate: requests a second over all of them; None for as fast as answers come.
    """

    def __init__(self, port: int, rate: float | None) -> None:
        self._port = port
        self._rate = rate
        self.latencies_s: list[float] = []
        self.failed = 0

    def run(self, seconds: float) -> None:
        """Send, and read answers, for so long; then wait for those that are due."""
        waiting = selectors.DefaultSelector()
        idle = [socket.create_connection(("127.0.0.1", self._port)) for _ in range(_CONNECTIONS)]
        sent: dict[socket.socket, float] = {}
        request = (
            f"POST /v2.1/servers/{_SERVER}/remote-consoles HTTP/1.1\r\nHost: localhost\r\n"
            "OpenStack-API-Version: compute 2.6\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(_BODY)}\r\n\r\n"
        ).encode() + _BODY
        begun = time.monotonic()
        count = 0
        while (elapsed := time.monotonic() - begun) < seconds or sent:
            due = _CONNECTIONS if self._rate is None else int(elapsed * self._rate) - count
            while elapsed < seconds and idle and due > 0:
                connection = idle.pop()
                connection.sendall(request)
                sent[connection] = time.monotonic()
                waiting.register(connection, selectors.EVENT_READ)
                count, due = count + 1, due - 1
            for key, _ in waiting.select(0.001):
                assert isinstance(key.fileobj, socket.socket)
                connection = key.fileobj
                answer = connection.recv(65536)  # one segment of loopback holds it
                self.failed += not answer.startswith(b"HTTP/1.1 200 ")
                self.latencies_s.append(time.monotonic() - sent.pop(connection))
                waiting.unregister(connection)
                idle.append(connection)
        for connection in idle:
            connection.close()


def _beside(load: Load | None, api_port: int) -> list[float]:
    """Return the round trips of a console, in seconds, while another process loads the API."""
    if load is None:
        return _echo(api_port)
    results: multiprocessing.Queue[tuple[list[float], int]] = multiprocessing.Queue()

    def work() -> None:
        os.nice(10)  # what is measured is what the gateway's core does to the echo, not this one's
        load.run(_SECONDS)
        results.put((load.latencies_s, load.failed))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    times = _echo(api_port)
    load.latencies_s, load.failed = results.get()
    process.join()
    return times


def _echo(api_port: int) -> list[float]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{api_port}/v2.1/servers/{_SERVER}/remote-consoles",
        _BODY,
        {"Content-Type": "application/json", "OpenStack-API-Version": "compute 2.6"},
    )
    url = json.load(urllib.request.urlopen(request))["remote_console"]["url"]
    match = re.search(r":(\d+)/.*token%3D(.*)", url)
    assert match is not None
    stream = _WebSocket(int(match[1]), match[2])
    for ours, theirs in ((b"RFB 003.008\n", 12 + 2), (b"\1", 4), (b"\1", 24)):
        if ours.startswith(b"RFB"):
            stream.read(12)
            theirs -= 12
        stream.write(ours)
        stream.read(theirs)
    times = []
    end = time.monotonic() + _SECONDS - 0.5
    while time.monotonic() < end:
        begun = time.monotonic()
        stream.write(_ECHO)
        stream.read(len(_ECHO))
        times.append(time.monotonic() - begun)
        time.sleep(0.001)
    return times


class _WebSocket:
    def __init__(self, port: int, token: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(
            f"GET /?token={token} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        self._wire = self._socket.makefile("rb")
        while self._wire.readline() != b"\r\n":
            pass
        self._held = b""

    def write(self, data: bytes) -> None:
        self._socket.sendall(struct.pack("!BBI", 0x82, 0x80 | len(data), 0) + data)

    def read(self, count: int) -> None:
        while len(self._held) < count:
            _, length = self._wire.read(2)
            self._held += self._wire.read(length)
        self._held = self._held[count:]


@contextmanager
def _target() -> Iterator[int]:
    """Give the port of a VNC server that echoes."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(b"RFB 003.008\n")
            connection.recv(12, socket.MSG_WAITALL)
            connection.sendall(b"\1\1")
            connection.recv(1)
            connection.sendall(bytes(4))
            connection.recv(1)
            connection.sendall(bytes(24))
            while data := connection.recv(65536):
                connection.sendall(data)

    process = multiprocessing.get_context("fork").Process(target=serve, daemon=True)
    process.start()
    yield listening.getsockname()[1]
    process.terminate()


if __name__ == "__main__":
    main()
