"""Measures what a crowd of silent and slow connections does to honest users: ``make crowd``.

Half of the crowd says nothing, half sends its request byte by byte. Meanwhile consoles are opened,
and bytes go through a console that is open.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import threading
import time
from collections.abc import Callable

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import Gateway, becomes_true, free_port

_REQUEST = b"GET /console HTTP/1.1\r\nHost: gateway\r\nX-Slow: " + b"x" * 10_000
_DRIP_EVERY_S = 0.5


class Crowd:
    """So many connections to a gateway, every second of which drips.

    Args:
        port: of the gateway.
        size: of the crowd.
    """

    def __init__(self, port: int, size: int) -> None:
        self._port = port
        self._size = size
        self._stopped = threading.Event()
        self.connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._drip)

    def gather(self) -> None:
        """Open all connections, and go on to drip."""
        for _ in range(self._size):
            self.connections.append(socket.create_connection(("127.0.0.1", self._port)))
        self._thread.start()

    def _drip(self) -> None:
        sent = 0
        while not self._stopped.wait(_DRIP_EVERY_S):
            for connection in self.connections[::2]:
                try:
                    connection.send(_REQUEST[sent : sent + 1])
                except OSError:
                    continue  # it had to give way
            sent += 1

    def disperse(self) -> None:
        """Close all of them."""
        self._stopped.set()
        self._thread.join()
        for connection in self.connections:
            connection.close()


def seconds_of(call: Callable[[], object]) -> float:
    """Return how long the call takes."""
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def open_once(url: str) -> None:
    """Open a console up to its ServerInit, and leave."""
    with ScriptedBrowser(url) as browser:
        assert browser.open_console() == fake_targets.SERVER_INIT


def echo_once(browser: ScriptedBrowser) -> None:
    """Send eight bytes, as a key is, and read them back."""
    browser.write(bytes(8))
    assert len(browser.read(8)) == 8


def report(what: str, gateway: Gateway, running: ScriptedBrowser, url: str) -> None:
    """Measure once, and print it."""
    echoes = sorted(seconds_of(lambda: echo_once(running)) for _ in range(500))
    openings = sorted(seconds_of(lambda: open_once(url)) for _ in range(20))
    print(
        f"{what:<28} {gateway.sockets():>6} sockets {gateway.memory_kb / 1024:>7.1f} MB   "
        f"echo p50 {1000 * statistics.median(echoes):.2f} ms, p99 {1000 * echoes[494]:.2f} ms   "
        f"opening p50 {1000 * statistics.median(openings):.0f} ms, "
        f"longest {1000 * openings[-1]:.0f} ms"
    )


def measure(size: int, bound: int, rounds: int) -> None:
    """Print the numbers without a crowd, with one, and behind it."""
    target = FakeTarget(fake_targets.echo)
    port = free_port()
    listen = f"tcp:{port}:interface=127.0.0.1:backlog=4096"  # or the kernel lets them in slowly
    options = {"max_unauthenticated": bound, "listen": listen, "max_sessions_per_token": 0}
    gateway = Gateway(options)
    url = gateway.console_url(target.port).replace(str(gateway.port), str(port))
    print(f"{size} connections, max_unauthenticated = {bound}")
    try:
        with ScriptedBrowser(url) as running:
            running.open_console()
            report("nobody else", gateway, running, url)
            for number in range(1, rounds + 1):
                crowd = Crowd(port, size)
                crowd.gather()
                report(f"crowd {number}", gateway, running, url)
                crowd.disperse()
                assert becomes_true(lambda: gateway.sockets() < 10)
                report(f"behind crowd {number}", gateway, running, url)
    finally:
        gateway.stop()
        target.stop()


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    for bound in (1000, 10 * options.size):
        measure(options.size, bound, options.rounds)


if __name__ == "__main__":
    main()
