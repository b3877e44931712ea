"""The seams between the parts; no code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IConsumer,
    IPushProducer,
    IReactorFDSet,
    IReactorTime,
    ITCPTransport,
    ITLSTransport,
)

from vncproxy.model import Ending, Grant, Seat, SessionFacts, Token


class TokenStore(Protocol):
    """Where the gateway looks tokens up."""

    def find(self, token: Token) -> Deferred[Grant]:
        """Return what the token opens.

        The Deferred fails with ``TokenInvalid``, ``TokenExpired`` or ``StoreUnavailable``;
        cancelling it makes the look-up cost nothing further.
        """


class TokenRegister(Protocol):
    """Who knows which tokens are still valid."""

    def standing(self, token_hashes: Sequence[str]) -> Deferred[frozenset[str]]:
        """Return those of the tokens whose rows are still there, expired or not.

        The Deferred fails with ``StoreUnavailable`` when that can't be said of each of them.
        """


class GrantCheck(Protocol):
    """What must still hold of a grant when its console is opened, beyond the token's row."""

    def check(self, grant: Grant) -> Deferred[None]:
        """Fire when it holds.

        The Deferred fails with a ``GatewayError`` where it does not, or can't be found out;
        cancelling it makes the check cost nothing further.
        """


class Limits(Protocol):
    """What clients, machines and tokens may have at once, counted for the whole node.

    Clients are named by ``limits.address``. The Deferreds may be cancelled.
    """

    def arrive(self, client: str) -> Deferred[None]:
        """Count a request for a console; the Deferred may fail with ``ClientTooFast``."""

    def begin_look_up(self, client: str) -> Deferred[None]:
        """Fire when a token may be looked up; or fail with ``TooManyFailedTokens``."""

    def end_look_up(self, client: str, good: bool | None) -> None:
        """Learn what the token was that ``begin_look_up`` has allowed; None: nobody knows."""

    def have_room(self) -> Deferred[None]:
        """Fire where somebody could get a place; or fail, as with ``GatewayFull``."""

    def take_seat(self, name: str, seat: Seat) -> Deferred[None]:
        """Give the session of this name a place; fails as ``limits.seats.Seats.take``."""

    def leave_seat(self, name: str) -> None:
        """Take the place back, if the session of this name has one."""


class Leg(Protocol):
    """One of a session's two ends: the browser, or the console's server.

    Attributes:
        received: called with each piece of the stream that arrives; never empty. It must be set
            before the reactor runs again.
        lost: called once when the leg is gone, with how the session ends by that, and a detail
            for the operator's log or "". Nothing is received after it.
        transport: what moves its bytes.
        frames: who owns the WebSocket on the transport; None where the bytes are the stream's.
    """

    received: Callable[[bytes], None]
    lost: Callable[[Ending, str], None]

    @property
    def transport(self) -> object:
        """Return it as it is now."""

    @property
    def frames(self) -> FrameOwner | None:
        """Return it, or None."""

    def write(self, data: bytes) -> None:
        """Send bytes; those that the peer does not take now are kept."""

    def close(self, ending: Ending, words: str) -> None:
        """Deliver what was written, say why, if the leg's own protocol can, and close."""

    def abort(self) -> None:
        """Close at once; what was not delivered is dropped."""

    def pause(self) -> None:
        """Stop reading from the peer."""

    def resume(self) -> None:
        """Read from the peer again."""

    def throttle_by(self, source: Throttled | None) -> None:
        """Pause and resume ``source`` as the peer's reading demands; None to let go of it."""


class FrameOwner(Protocol):
    """The WebSocket's protocol, as the splice's engine sees it.

    Attributes:
        between_frames: whether the next byte begins a frame, and a message.
        longest_frame: bytes of the longest payload that a frame may have.
    """

    @property
    def between_frames(self) -> bool:
        """Return whether it does."""

    @property
    def longest_frame(self) -> int:
        """Return the limit."""

    def feed(self, data: bytes) -> None:
        """Take bytes for its transport's."""

    @property
    def heard(self) -> Callable[[], None]:
        """What to call when there is a sign of the client's life."""

    def reroute(self, transport: Any) -> None:  # noqa: ANN401  the real one, or its stand-in
        """Write to another transport from now on."""

    def deaf(self, deaf: bool) -> None:
        """Learn whether the client is read no further for now."""


class IStreamTransport(ITCPTransport, IConsumer, IPushProducer):
    """What Twisted's stream transports, TLS and UNIX ones too, all are."""


class ITargetTransport(IStreamTransport, ITLSTransport):
    """A stream transport that can begin to speak TLS."""

    def getHandle() -> SSL.Connection:  # noqa: N802  Twisted's name
        """Return the pyOpenSSL connection, once TLS has begun."""


class IStreamReactor(IReactorFDSet, IReactorTime):
    """What of a reactor serves sockets, in their time."""


class Throttled(Protocol):
    """What can be told to stop producing bytes for a while."""

    def pause(self) -> None:
        """Produce nothing more until ``resume``."""

    def resume(self) -> None:
        """Produce again."""


class Tap(Protocol):
    """Sees a session's streams: a recorder, or a policy on what users may send."""

    def from_server(self, data: bytes) -> None:
        """See bytes on their way to the client."""

    def from_client(self, data: bytes) -> bytes:
        """See bytes on their way to the server, and return those that may go on."""


class SessionObserver(Protocol):
    """Who is told of sessions' edges: logs, and later metrics, audit and recorder."""

    def started(self, facts: SessionFacts) -> None:
        """Learn that a session's WebSocket is open, and its console about to be.

        Raises:
            GatewayError: the session must not go on.
        """

    def ended(self, facts: SessionFacts) -> None:
        """Learn that a session has ended; ``facts.ending`` says how."""

    def refused(self, facts: SessionFacts) -> None:
        """Learn that a request was refused before it became a session."""
