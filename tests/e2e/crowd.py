"""Measures what a crowd of silent and slow connections does to honest users: ``make crowd``.

It comes to each kind of listener in turn: plain, TLS, the PROXY protocol, the API, the metrics.
Half of it says nothing, half sends what comes first there byte by byte. Meanwhile consoles are
opened, or the API or the metrics asked, and bytes go through a console that is open.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Callable

from tests.e2e.browser import ScriptedBrowser
from tests.e2e.every_listener import EveryListener, Place
from tests.e2e.programs import becomes_true

_REQUEST = b"GET /console HTTP/1.1\r\nHost: gateway\r\nX-Slow: " + b"x" * 10_000
_LONGEST_RECORD = b"\x16\x03\x01\x40\x00"  # of TLS: nothing is looked at until it is whole
_DRIP_EVERY_S = 0.5
_FEW = 20  # listeners, the running console, and what is being closed


class Crowd:
    """So many connections to a listener, every second of which drips.

    Args:
        place: the listener.
        size: of the crowd.
    """

    def __init__(self, place: Place, size: int) -> None:
        self._place = place
        self._size = size
        self._stopped = threading.Event()
        self.connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._drip)
        begin = _LONGEST_RECORD if place.speaks_tls else b""
        self._drops = place.first_bytes + begin + _REQUEST

    def gather(self) -> None:
        """Open all connections, and go on to drip."""
        for _ in range(self._size):
            self.connections.append(socket.create_connection(("127.0.0.1", self._place.port)))
        self._thread.start()

    def _drip(self) -> None:
        sent = 0
        while not self._stopped.wait(_DRIP_EVERY_S):
            for connection in self.connections[::2]:
                with contextlib.suppress(OSError):  # it had to give way
                    connection.send(self._drops[sent : sent + 1])
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


def visit_once(every: EveryListener, place: Place) -> None:
    """Open a console up to its ServerInit, or ask what else is served there; and leave."""
    with every.visit(place):
        pass


def echo_once(browser: ScriptedBrowser) -> None:
    """Send eight bytes, as a key is, and read them back."""
    browser.write(bytes(8))
    assert len(browser.read(8)) == 8


def report(what: str, every: EveryListener, place: Place, running: ScriptedBrowser) -> None:
    """Measure once, and print it."""
    gateway = every.gateway
    echoes = sorted(seconds_of(lambda: echo_once(running)) for _ in range(500))
    visits = sorted(seconds_of(lambda: visit_once(every, place)) for _ in range(20))
    print(
        f"{what:<40} {gateway.sockets():>6} sockets {gateway.memory_kb / 1024:>7.1f} MB   "
        f"echo p50 {1000 * statistics.median(echoes):.2f} ms, p99 {1000 * echoes[494]:.2f} ms   "
        f"visit p50 {1000 * statistics.median(visits):.0f} ms, "
        f"longest {1000 * visits[-1]:.0f} ms",
        flush=True,
    )


def measure(size: int, bound: int, rounds: int) -> None:
    """Print the numbers of each listener without a crowd, with one, and behind it."""
    every = EveryListener({"max_unauthenticated": bound})
    gateway = every.gateway
    print(f"{size} connections, max_unauthenticated = {bound}")
    try:
        with ScriptedBrowser(every.console_url) as running:
            running.open_console()
            for place in every.places:
                report(f"{place.name}: nobody else", every, place, running)
                for number in range(1, rounds + 1):
                    crowd = Crowd(place, size)
                    crowd.gather()
                    report(f"{place.name}: crowd {number}", every, place, running)
                    crowd.disperse()
                    assert becomes_true(lambda: gateway.sockets() < _FEW)
                    report(f"{place.name}: behind it", every, place, running)
    finally:
        every.stop()


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    for bound in (1000, 10 * options.size):
        measure(options.size, bound, options.rounds)


if __name__ == "__main__":
    main()
