"""The browser's end of a session: an Autobahn protocol, and the leg made of its messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from vncproxy.errors import (
    ANSWERS,
    CLOSE_INTERNAL_ERROR,
    CLOSE_POLICY_VIOLATION,
    CLOSE_UNSUPPORTED_DATA,
)
from vncproxy.interfaces import IStreamTransport, Throttled
from vncproxy.limits.turns import Turns
from vncproxy.model import Ending
from vncproxy.splice.producer import Producer
from vncproxy.splice.wire import read_slowly, unsent_bytes
from vncproxy.web.heartbeat import Heartbeat
from vncproxy.web.intake import (
    IDLE_FRAMES_S,
    MOST_IDLE_FRAMES,
    MOST_UNSENT_BYTES,
    SERVER_LAGS,
    Intake,
)
from vncproxy.web.shed import shed

_CLOSE_HANDSHAKE_S = 10
_FLOOD_CLOSE_S = 2  # for a client whom we read no further to take the Close
# Of a client that only hears why there is no console: RFB's version, or a line typed meanwhile,
# and the answer to the Close, which has 131 bytes at most.
_REFUSED_BYTES = 2048
_LONGEST_REASON = 123  # bytes; RFC 6455 §5.5
_LONGEST_FRAME = (1 << 63) - 1  # bytes; RFC 6455 §5.2
_LAST_DATA_OPCODE = 7  # those of control frames are higher; RFC 6455 §5.2


class BrowserProtocol(WebSocketServerProtocol):
    """A WebSocket that carries a console's stream in binary messages.

    Args:
        opened: called with the leg when the handshake is done.
        clock: runs the heartbeat.
        heartbeat_s: seconds between two pings; 0 for none.
        longest_frame: bytes of the longest payload that a client's frame may have.
        takes_text: whether a client may send text messages too.
        turns: in which clients are served that send many frames.
        refused: whether the client only hears why there is no console.
    """

    _log = Logger()
    transport: IStreamTransport
    cookie: bytes | None = None  # a Set-Cookie header for the handshake's answer

    def __init__(
        self,
        opened: Callable[[BrowserLeg], None],
        clock: IReactorTime,
        heartbeat_s: float,
        longest_frame: int,
        takes_text: bool,
        turns: Turns,
        refused: bool,
    ) -> None:
        super().__init__()
        self._opened = opened
        self.longest_frame = longest_frame
        self._takes_text = takes_text
        self._leg: BrowserLeg | None = None
        self._silence = ""
        self._clock = clock
        self._drop: IDelayedCall | None = None
        self._intake = Intake(self, turns, _REFUSED_BYTES if refused else None)
        self.heartbeat = Heartbeat(clock, heartbeat_s, self._ping, self._give_up)
        self.heard = self.heartbeat.heard

    @override
    def onConnect(self, request: ConnectionRequest) -> tuple[str | None, dict[str, str]]:
        """Choose the subprotocol; everything else was decided before (``web.upgrade``)."""
        subprotocol = "binary" if "binary" in request.protocols else None
        return subprotocol, {"Set-Cookie": self.cookie.decode()} if self.cookie else {}

    @override
    def onOpen(self) -> None:
        self._leg = BrowserLeg(self)
        shed(self)
        self.heartbeat.start()
        try:
            self._opened(self._leg)
        except Exception:  # Autobahn would lose it, and leave the socket open
            self._log.failure("a session could not be started")
            self.close_with(CLOSE_INTERNAL_ERROR, "")

    @override
    def dataReceived(self, data: bytes) -> None:
        self.heartbeat.heard()
        if self.state == self.STATE_CONNECTING:
            self.parse(data)  # the handshake, which is our own writing
        else:
            self._intake.take(data)

    def parse(self, data: bytes) -> None:
        """Take bytes of the client's stream (see ``intake.Parser``)."""
        if self.state == self.STATE_CLOSED:
            return  # Autobahn would keep them
        try:
            super().dataReceived(data)
        except Exception:
            self._log.failure("a client's frames could not be taken")
            self._intake.stop()
            self.transport.abortConnection()

    def read(self, go_on: bool) -> None:
        """Read from the client, or not (see ``intake.Parser``)."""
        if go_on:  # in TLS the client's last word must be read, though ours has been said
            self.transport.resumeProducing()
        elif self.state != self.STATE_CLOSED:
            self.transport.pauseProducing()

    @property
    def rest_of_frame(self) -> int:
        """How many bytes the frame still lacks that has begun (see ``intake.Parser``)."""
        frame: Any = self.current_frame
        return frame.length - self.current_frame_masker.pointer() if frame else 0

    @property
    def unsent(self) -> int:
        """How many bytes wait for the client to take them."""
        return unsent_bytes(self.transport)

    @property
    def between_frames(self) -> bool:
        """Whether the next byte begins a frame, and a message (see ``FrameOwner``)."""
        frame: object = self.current_frame
        return (
            self.state == self.STATE_OPEN
            and frame is None
            and not self.data
            and not self.inside_message
            and not self._intake.lags
        )

    def feed(self, data: bytes) -> None:
        """Take bytes for the transport's."""
        self.dataReceived(data)

    def reroute(self, transport: IStreamTransport) -> None:
        """Use another transport from now on, which reads."""
        self.transport = transport
        self._intake.moved()

    def pause(self) -> None:
        """Read no further: the console's server lags."""
        self.heartbeat.deaf(True)
        self._intake.hold(SERVER_LAGS)

    def resume(self) -> None:
        """Read on."""
        self.heartbeat.deaf(False)
        self._intake.release(SERVER_LAGS)

    def deaf(self, deaf: bool) -> None:
        """Expect no answer of a client whom we don't read."""
        self.heartbeat.deaf(deaf)

    def _ping(self) -> None:
        if self.unsent <= MOST_UNSENT_BYTES:  # a client that reads nothing is not owed more
            self.sendPing()

    def _give_up(self, silent_s: float) -> None:
        self._silence = f"it answered no ping for {silent_s:g} s"
        self.transport.abortConnection()

    @override
    def onFrameBegin(self) -> None:
        frame: Any = self.current_frame
        idle = not frame.length or frame.opcode > _LAST_DATA_OPCODE
        if self._intake.is_flooded_by(idle):
            self._end_flood()
        super().onFrameBegin()

    def _end_flood(self) -> None:
        self._intake.stop()
        if self.state == self.STATE_OPEN:
            self._fail_connection(CLOSE_POLICY_VIOLATION, ANSWERS[Ending.CLIENT_FLOOD].words)
        if self._drop is not None and self._drop.active():
            self._drop.reset(_FLOOD_CLOSE_S)

    @override
    def onMessageBegin(self, isBinary: bool) -> None:
        super().onMessageBegin(isBinary)
        # Refuse text at its first frame, not when the message is complete.
        if not isBinary and not self._takes_text:
            self._fail_connection(CLOSE_UNSUPPORTED_DATA, "Text frames are not supported")

    @override
    def onMessageFrameData(self, payload: bytes) -> None:
        # A console's stream has no messages: keep nothing back for their ends. Tiny fragments
        # would weigh many times what they carry.
        if payload and self._leg is not None and not self.failedByMe:
            self._leg.received(payload)

    @override
    def onMessageEnd(self) -> None:
        """Do nothing: all of it has gone on."""

    @override
    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False
    ) -> None:
        """Send a Close frame: every way in which Autobahn closes passes here."""
        self.heartbeat.stop()
        if self._leg is not None:
            # With a producer registered the transport would wait for it for ever.
            self._leg.let_go_of_source()
        read_slowly(self.transport)
        super().sendCloseFrame(code, reasonUtf8, isReply)
        if self._drop is None:  # a client that says, or takes, nothing now would never be gone
            self._drop = self._clock.callLater(_CLOSE_HANDSHAKE_S, self.transport.abortConnection)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super_lost = super().connectionLost
        self._intake.end(lambda: super_lost(reason))

    @override
    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.heartbeat.stop()
        if self._drop is not None and self._drop.active():
            self._drop.cancel()
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.lost(*self._ending(wasClean, code, reason))

    def _ending(self, was_clean: bool, code: int | None, reason: str | None) -> tuple[Ending, str]:
        if self.failedByMe:
            sent: object = self.localCloseCode
            if sent == CLOSE_POLICY_VIOLATION:
                return Ending.CLIENT_FLOOD, f"over {MOST_IDLE_FRAMES} in {IDLE_FRAMES_S} s"
            return Ending.CLIENT_PROTOCOL, f"{sent} {self.localCloseReason}"
        if was_clean:
            return Ending.CLIENT_CLOSED, f"close code {code}" if code else ""
        how = self._silence or "the connection ended without a WebSocket close"
        return Ending.CLIENT_LOST, how

    def close_with(self, code: int, reason: str) -> None:
        """Start the closing handshake.

        Autobahn's ``sendClose`` lets an application send neither 1001 nor 1011.
        """
        if self.state == self.STATE_OPEN:
            words = reason.encode()[:_LONGEST_REASON].decode("utf-8", "ignore")
            self.sendCloseFrame(code=code, reasonUtf8=words.encode(), isReply=False)


class BrowserLeg:
    """A session's browser end (see ``interfaces.Leg``)."""

    received: Callable[[bytes], None]
    lost: Callable[[Ending, str], None]

    def __init__(self, protocol: BrowserProtocol) -> None:
        self._protocol = protocol
        self._source: Throttled | None = None
        self.frames = protocol

    @property
    def transport(self) -> IStreamTransport:
        """The transport beneath the WebSocket."""
        return self._protocol.transport

    def write(self, data: bytes) -> None:
        """Send the bytes as one binary message."""
        if self._protocol.state == self._protocol.STATE_OPEN:
            self._protocol.sendMessage(data, isBinary=True)

    def close(self, ending: Ending, words: str) -> None:
        """Close with the ending's code and these words, behind everything written."""
        # A client whose reading we paused must be heard again, or its answer never comes.
        self.resume()
        self._protocol.close_with(ANSWERS[ending].close_code, words)

    def abort(self) -> None:
        """Drop the TCP connection."""
        self._protocol.transport.abortConnection()

    def pause(self) -> None:
        """Stop reading from the browser."""
        self._protocol.pause()

    def resume(self) -> None:
        """Read from the browser again."""
        self._protocol.resume()

    def throttle_by(self, source: Throttled | None) -> None:
        """Let the browser's reading pause and resume ``source``."""
        if self._source is not None:
            self._protocol.unregisterProducer()
        self._source = source
        if source is not None:
            self._protocol.registerProducer(Producer(source), True)

    def let_go_of_source(self) -> None:
        """Take nothing more from what was throttled: the closing handshake has begun."""
        source = self._source
        self.throttle_by(None)
        if source is not None:
            source.pause()


class BrowserFactory(WebSocketServerFactory):
    """Makes the protocols, with the limits of every session.

    Args:
        max_message_size: bytes of the largest message, and frame, taken from a client; 0 for any.
        heartbeat_s: seconds between two pings; 0 for none.
        clock: runs the heartbeats.
        takes_text: whether clients may send text messages too.
    """

    def __init__(
        self,
        max_message_size: int,
        heartbeat_s: float,
        clock: IReactorTime,
        takes_text: bool = False,
    ) -> None:
        super().__init__(server="vncproxy")
        self._takes_text = takes_text
        self._heartbeat_s = heartbeat_s
        self._longest_frame = max_message_size or _LONGEST_FRAME
        self._clock = clock
        self._turns = Turns(clock)
        self.setProtocolOptions(
            versions=[13],
            webStatus=False,
            requireMaskedClientFrames=True,
            maxFramePayloadSize=max_message_size,
            maxMessagePayloadSize=max_message_size,
            failByDrop=False,  # a client that errs reads why: 1002, 1003, 1007, 1009
            closeHandshakeTimeout=0,  # ours counts when the client says Close, too
            openHandshakeTimeout=0,  # the handshake is already here, whole and checked
            perMessageCompressionAccept=lambda _offers: None,  # RFB is compressed already
            autoPingInterval=0,  # ours is in web.heartbeat
            tcpNoDelay=True,
            serveFlashSocketPolicy=False,
            allowedOrigins=["*"],  # decided in web.origin
            allowNullOrigin=True,
        )

    def protocol_for(
        self, opened: Callable[[BrowserLeg], None], refused: bool = False
    ) -> BrowserProtocol:
        """Return a protocol, not connected, that calls ``opened`` once it is open.

        Args:
            opened: is given the leg.
            refused: whether the client only hears why there is no console.
        """
        protocol = BrowserProtocol(
            opened,
            self._clock,
            self._heartbeat_s,
            self._longest_frame,
            self._takes_text,
            self._turns,
            refused,
        )
        protocol.factory = self
        return protocol
