"""What a flood does to a gateway: its memory, its descriptors, and how soon others are answered."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.programs import Gateway

_PATIENCE_S = 30.0
_BETWEEN_PROBES_S = 0.02
_HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"


class Pressure:
    """Watches a gateway for as long as the block lasts.

    Attributes:
        answers_ms: how long each /healthz took, on a connection of its own.

    Args:
        gateway: a running one.
        port: a listener of it that answers /healthz in plain HTTP; None for its usual one.
    """

    def __init__(self, gateway: Gateway, port: int | None = None) -> None:
        self._gateway = gateway
        self._port = port or gateway.port
        self._proc = Path(f"/proc/{gateway.program.pid}")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._probe, daemon=True)
        self.answers_ms: list[float] = []

    def __enter__(self) -> Self:
        for _ in range(3):  # what the first request loads is no flood's doing
            self._ask()
        (self._proc / "clear_refs").write_text("5")  # the peak begins anew (proc(5))
        self._memory_kb = self._status("VmRSS")
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(_PATIENCE_S)

    @property
    def grown_kb(self) -> int:
        """How much resident memory, in KiB, the gateway had at most beyond what it began with."""
        return self._status("VmHWM") - self._memory_kb

    @property
    def usual_answer_ms(self) -> float:
        """How long /healthz took: the median, which a busy machine's scheduler leaves alone."""
        return statistics.median(self.answers_ms)

    @property
    def longest_answer_ms(self) -> float:
        """How long the slowest took."""
        return max(self.answers_ms)

    def wait_for_answers(self, count: int) -> None:
        """Return when so many probes more were answered."""
        wanted = len(self.answers_ms) + count
        deadline = time.monotonic() + _PATIENCE_S
        while len(self.answers_ms) < wanted:
            assert time.monotonic() < deadline, "the gateway answers /healthz no more"
            time.sleep(_BETWEEN_PROBES_S)

    def _status(self, name: str) -> int:
        text = (self._proc / "status").read_text()
        return int(text.split(f"{name}:")[1].split()[0])

    def _probe(self) -> None:
        while not self._over.wait(_BETWEEN_PROBES_S):
            begun = time.monotonic()
            with contextlib.suppress(OSError):  # the gateway may be stopping
                self._ask()
                self.answers_ms.append(1000 * (time.monotonic() - begun))

    def _ask(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), _PATIENCE_S) as connection:
            connection.sendall(_HEALTHZ)
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"/healthz: {answer[:40]!r}")
