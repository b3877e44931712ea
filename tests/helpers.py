"""Small strict stand-ins and samples that many tests use."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from vncproxy.interfaces import Throttled
from vncproxy.model import Ending, Grant, SessionFacts, Token


def every_split(wire: bytes) -> Iterator[list[bytes]]:
    """Give the bytes whole, one by one, and cut in two at each place."""
    yield [wire]
    yield [wire[i : i + 1] for i in range(len(wire))]
    yield from ([wire[:cut], wire[cut:]] for cut in range(1, len(wire)))


def grant_for(token: Token, **changes: object) -> Grant:
    """Return a grant that the token opens until the end of time."""
    values: dict[str, object] = {
        "token_hash": token.hash,
        "console_type": "novnc",
        "host": "192.0.2.7",
        "port": 5900,
        "instance_uuid": "11111111-2222-4333-8444-555555555555",
        "expires": 4102444800,
        "access_url_base": "http://gateway.example/vnc_auto.html",
        **changes,
    }
    return Grant(**values)  # type: ignore[arg-type]


class MemoryLeg:
    """A leg without a network: it keeps what it is told, and is driven by the test."""

    received: Callable[[bytes], None]
    lost: Callable[[Ending, str], None]
    transport: None = None
    frames: None = None

    def __init__(self) -> None:
        self.written = b""
        self.closed_with: Ending | None = None
        self.closed_saying = ""
        self.aborted = False
        self.paused = False
        self.source: Throttled | None = None

    def write(self, data: bytes) -> None:
        """Keep the bytes."""
        assert self.closed_with is None, "written to after its close"
        self.written += data

    def take(self) -> bytes:
        """Return, and forget, what was written."""
        taken, self.written = self.written, b""
        return taken

    def close(self, ending: Ending, words: str) -> None:
        """Keep the ending; the test says when the peer has closed too."""
        assert self.closed_with is None, "closed twice"
        self.closed_with, self.closed_saying = ending, words

    def abort(self) -> None:
        """Be gone at once, as a transport is in the reactor's next turn."""
        self.aborted = True

    def pause(self) -> None:
        """Keep that reading is paused."""
        self.paused = True

    def resume(self) -> None:
        """Keep that reading goes on."""
        self.paused = False

    def throttle_by(self, source: Throttled | None) -> None:
        """Keep the source, for the test to pause."""
        self.source = source


class RecordingObserver:
    """An observer that keeps what it was told, as words and in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.facts: SessionFacts | None = None

    def started(self, facts: SessionFacts) -> None:
        """Keep a start."""
        self._keep("started", facts)

    def ended(self, facts: SessionFacts) -> None:
        """Keep an end."""
        self._keep("ended", facts)

    def refused(self, facts: SessionFacts) -> None:
        """Keep a refusal."""
        self._keep("refused", facts)

    def _keep(self, event: str, facts: SessionFacts) -> None:
        self.events.append(f"{event} {facts.ending.value}" if facts.ending else event)
        self.facts = facts


class InlineThreadPool(ThreadPool):
    """A thread pool that makes each call at once, in the test's own thread; or when told."""

    def __init__(self, wait: bool = False) -> None:
        super().__init__(0, 1)
        self._wait = wait
        self.waiting: list[Callable[[], None]] = []

    def callInThreadWithCallback(  # type: ignore[override]
        self,
        on_result: Callable[[bool, object], None],
        call: Callable[..., object],
        *arguments: object,
        **named: object,
    ) -> None:
        """Make the call, or keep it for ``run``."""

        def run() -> None:
            try:
                result = call(*arguments, **named)
            except BaseException:
                on_result(False, Failure())
            else:
                on_result(True, result)

        if self._wait:
            self.waiting.append(run)
        else:
            run()

    def run(self) -> None:
        """Make the calls that wait."""
        while self.waiting:
            self.waiting.pop(0)()


class TurnClock(Clock):
    """A clock that can go one turn of the reactor at a time."""

    def turn(self) -> None:
        """Make the calls that are due now, but none that they add: those come in the next turn."""
        due = [call for call in self.calls if call.getTime() <= self.seconds()]
        for call in due:
            if call in self.calls:
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class ThreadClock(Clock):
    """A clock that takes calls from threads, which in tests are the test's own."""

    def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:
        """Make the call now."""
        call(*arguments)


def ws_frame(payload: bytes, mask: bytes | None, first: int = 0x82) -> bytes:
    """Return a WebSocket frame, written as plainly as RFC 6455 §5.2 reads.

    Args:
        payload: not masked yet.
        mask: four bytes, or None for a server's frame.
        first: the byte of FIN, reserved bits and opcode; by default of a final binary frame.
    """
    if len(payload) < 126:
        length = bytes([len(payload)])
    elif len(payload) < 65536:
        length = b"\x7e" + len(payload).to_bytes(2, "big")
    else:
        length = b"\x7f" + len(payload).to_bytes(8, "big")
    if mask is None:
        return bytes([first]) + length + payload
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([first, length[0] | 0x80]) + length[1:] + mask + masked
