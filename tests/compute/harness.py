"""What tests of drivers need that hang on real threads, and not on the time."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock, deferLater


class ThreadedClock(Clock):
    """A clock of the test's, with the threads and the UNIX sockets of the real reactor."""

    def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:
        """Make the call in the reactor's thread."""
        from twisted.internet import reactor

        reactor.callFromThread(call, *arguments)  # type: ignore[attr-defined]

    def connectUNIX(self, *arguments: object, **named: object) -> object:
        """Connect by the real reactor."""
        from twisted.internet import reactor

        return reactor.connectUNIX(*arguments, **named)  # type: ignore[attr-defined]


async def until(condition: Callable[[], bool]) -> None:
    """Let the reactor run until the condition holds; trial's own time-out bounds it."""
    from twisted.internet import reactor

    while not condition():
        await deferLater(reactor, 0.01)
