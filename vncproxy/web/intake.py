"""What a browser sends, on its way to the WebSocket's protocol: a little at a time.

To parse a frame costs some microseconds however small it is, and the answers to pings are kept for
a client that does not read them. So no client has more than so many frames parsed in a turn of the
reactor, and one that does not take what it is sent, or says more than it has any reason to, is
read no further.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall

from vncproxy.limits.turns import Turns

FRAMES_A_TURN = 64  # Autobahn takes 5 to 15 us for each: about half a millisecond
_PIECE_BYTES = 512  # parsed at once: at most 85 frames, and little for Autobahn to copy for each
# More than a console's server can fill before it is paused: 64 KB, which is Twisted's own mark,
# and a long read of the splice's behind it. What is beyond that is the client's doing.
MOST_UNSENT_BYTES = 256 * 1024
_LOOK_AGAIN_S = 0.25
# Control frames and empty ones carry nothing of a console. An honest client sends a pong every few
# seconds. One that pings ten times a second, or ends each of a hundred messages a second with an
# empty fragment, as some libraries do, is still far below this.
MOST_IDLE_FRAMES = 2000
IDLE_FRAMES_S = 10

# Reasons for reading a client no further. They are bits, and no enum, whose operators cost more
# than all the rest that is done here for a frame.
SERVER_LAGS = 1  # the console's server does not take what the client sends
_CLIENT_LAGS = 2  # the client does not take what it is sent
_ENOUGH = 4  # nothing that it may still say matters
_STOP_PARSING = SERVER_LAGS | _CLIENT_LAGS


class Parser(Protocol):
    """The WebSocket's protocol, as its intake sees it."""

    @property
    def rest_of_frame(self) -> int:
        """How many bytes are missing from the frame that has begun; 0 between two."""

    @property
    def unsent(self) -> int:
        """How many bytes wait for the client to take them."""

    def parse(self, data: bytes) -> None:
        """Take bytes of the client's; must not raise."""

    def read(self, go_on: bool) -> None:
        """Read the client's connection from now on, or not."""


class Intake:
    """Gives a protocol what its client sends, in order, and in as many turns as that needs.

    Args:
        parser: the protocol.
        turns: shared with the other clients.
        allowance: how many bytes are taken in all; None for any number.
    """

    __slots__ = (
        "_allowance",
        "_at_end",
        "_frames",
        "_holds",
        "_idle_frames",
        "_interval",
        "_look",
        "_parser",
        "_parses",
        "_paused",
        "_rest",
        "_turns",
        "_waits",
    )

    def __init__(self, parser: Parser, turns: Turns, allowance: int | None = None) -> None:
        self._frames = 0  # of this turn
        self._idle_frames = self._interval = 0
        self._parser = parser
        self._turns = turns
        self._allowance = allowance
        self._rest = b""
        self._holds = 0
        self._parses = self._waits = self._paused = False
        self._look: IDelayedCall | None = None
        self._at_end: Callable[[], None] | None = None

    @property
    def lags(self) -> bool:
        """Whether some of what has arrived is not parsed yet."""
        return bool(self._rest)

    def take(self, data: bytes) -> None:
        """Take what has arrived."""
        if self._allowance is not None:
            data = data[: self._allowance]
            self._allowance -= len(data)
            if not self._allowance:
                self._holds |= _ENOUGH
        self._rest += data
        if not self._waits:
            self._go_on()

    def is_flooded_by(self, idle: bool) -> bool:
        """Count a frame that begins; return whether there are too many that carry nothing.

        Args:
            idle: whether this one carries nothing of the console.
        """
        self._frames += 1
        if not idle:
            return False
        interval = int(self._turns.clock.seconds()) // IDLE_FRAMES_S
        if interval != self._interval:
            self._interval, self._idle_frames = interval, 0
        self._idle_frames += 1
        return self._idle_frames > MOST_IDLE_FRAMES

    def hold(self, reason: int) -> None:
        """Read no further, until this reason is gone."""
        self._holds |= reason
        self._settle()

    def release(self, reason: int) -> None:
        """Read on, unless there is another reason not to."""
        self._holds &= ~reason
        self._settle()

    def stop(self) -> None:
        """Parse nothing more, neither of what is here nor of what comes."""
        self._rest = b""
        self._allowance = 0
        self.hold(_ENOUGH)

    def moved(self) -> None:
        """Learn that the client has another transport, which knows by itself how its server lags.

        It reads, until it is told not to.
        """
        self._paused = False
        self.release(SERVER_LAGS)

    def end(self, call: Callable[[], None]) -> None:
        """Call when all is parsed that came before the connection's end."""
        self._at_end = call
        self._holds &= _ENOUGH
        self._settle()

    def _go_on(self) -> None:
        """Parse what this turn has room for."""
        if self._parses:
            return  # called from within: the loop below goes on with it
        self._parses = True
        self._frames = 0
        while self._rest and self._frames < FRAMES_A_TURN and not self._must_wait():
            size = self._parser.rest_of_frame + _PIECE_BYTES
            piece, self._rest = self._rest[:size], self._rest[size:]
            self._parser.parse(piece)
        self._parses = False
        self._settle()

    def _must_wait(self) -> bool:
        if self._at_end is None and self._parser.unsent > MOST_UNSENT_BYTES:
            self._holds |= _CLIENT_LAGS
        return bool(self._holds & _STOP_PARSING)

    def _settle(self) -> None:
        """Have the connection read, or not, and the rest parsed, as things stand now."""
        if self._parses:
            return  # at its end
        must_wait = bool(self._holds & _STOP_PARSING)
        if self._rest and not must_wait and not self._waits:
            self._waits = True
            self._turns.wait(self._next_turn)
        if self._at_end is not None:
            if not self._rest:
                call, self._at_end = self._at_end, None
                call()
            return
        paused = bool(self._rest or self._holds)
        if paused != self._paused:
            self._paused = paused
            self._parser.read(not paused)
        if self._holds & _CLIENT_LAGS and self._look is None:
            # A transport has room for one producer's wishes, and that is the console's server.
            self._look = self._turns.clock.callLater(_LOOK_AGAIN_S, self._look_again)

    def _next_turn(self) -> None:
        self._waits = False
        self._go_on()

    def _look_again(self) -> None:
        """See whether the client has taken some of what it was sent."""
        self._look = None
        if self._parser.unsent <= MOST_UNSENT_BYTES:
            self._holds &= ~_CLIENT_LAGS
        self._settle()
