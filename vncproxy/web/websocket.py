"""The browser's end of a session: an Autobahn protocol, and the leg made of its messages."""

from __future__ import annotations

from collections.abc import Callable

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from typing_extensions import override

from vncproxy.errors import ANSWERS, CLOSE_INTERNAL_ERROR, CLOSE_UNSUPPORTED_DATA
from vncproxy.interfaces import IStreamTransport, Throttled
from vncproxy.model import Ending
from vncproxy.splice.producer import Producer
from vncproxy.web.heartbeat import Heartbeat
from vncproxy.web.shed import shed

_CLOSE_HANDSHAKE_S = 10
_LONGEST_REASON = 123  # bytes; RFC 6455 §5.5


class BrowserProtocol(WebSocketServerProtocol):
    """A WebSocket that carries a console's stream in binary messages.

    Args:
        opened: called with the leg when the handshake is done.
        clock: runs the heartbeat.
        heartbeat_s: seconds between two pings; 0 for none.
        longest_frame: bytes of the longest payload that a client's frame may have.
        takes_text: whether a client may send text messages too.
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
    ) -> None:
        super().__init__()
        self._opened = opened
        self.longest_frame = longest_frame
        self._takes_text = takes_text
        self._leg: BrowserLeg | None = None
        self._silence = ""
        self._clock = clock
        self._drop: IDelayedCall | None = None
        self.heartbeat = Heartbeat(clock, heartbeat_s, self.sendPing, self._give_up)
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
        super().dataReceived(data)

    @property
    def between_frames(self) -> bool:
        """Whether the next byte begins a frame, and a message (see ``FrameOwner``)."""
        frame: object = self.current_frame
        return (
            self.state == self.STATE_OPEN
            and frame is None
            and not self.data
            and not self.inside_message
        )

    def feed(self, data: bytes) -> None:
        """Take bytes for the transport's."""
        self.dataReceived(data)

    def reroute(self, transport: IStreamTransport) -> None:
        """Write to another transport from now on."""
        self.transport = transport

    def deaf(self, deaf: bool) -> None:
        """Expect no answer of a client whom we don't read."""
        self.heartbeat.deaf(deaf)

    def _give_up(self, silent_s: float) -> None:
        self._silence = f"it answered no ping for {silent_s:g} s"
        self.transport.abortConnection()

    @override
    def onMessageBegin(self, isBinary: bool) -> None:
        super().onMessageBegin(isBinary)
        # Refuse text at its first frame, not when the message is complete.
        if not isBinary and not self._takes_text:
            self._fail_connection(CLOSE_UNSUPPORTED_DATA, "Text frames are not supported")

    @override
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if payload and self._leg is not None:
            self._leg.received(payload)

    @override
    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False
    ) -> None:
        """Send a Close frame: every way in which Autobahn closes passes here."""
        self.heartbeat.stop()
        if self._leg is not None:
            # With a producer registered the transport would wait for it for ever.
            self._leg.let_go_of_source()
        super().sendCloseFrame(code, reasonUtf8, isReply)
        if isReply:  # a TLS client that now says nothing would never be gone
            self._drop = self._clock.callLater(_CLOSE_HANDSHAKE_S, self.transport.abortConnection)

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
            return Ending.CLIENT_PROTOCOL, f"{self.localCloseCode} {self.localCloseReason}"
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
        self._protocol.heartbeat.deaf(True)
        self._protocol.transport.pauseProducing()

    def resume(self) -> None:
        """Read from the browser again."""
        self._protocol.heartbeat.deaf(False)
        self._protocol.transport.resumeProducing()

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
        max_message_size: bytes of the largest message, and frame, taken from a client.
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
        self._longest_frame = max_message_size
        self._clock = clock
        self.setProtocolOptions(
            versions=[8, 13],
            webStatus=False,
            requireMaskedClientFrames=True,
            maxFramePayloadSize=max_message_size,
            maxMessagePayloadSize=max_message_size,
            failByDrop=False,  # a client that errs reads why: 1002, 1003, 1007, 1009
            closeHandshakeTimeout=_CLOSE_HANDSHAKE_S,
            openHandshakeTimeout=0,  # the handshake is already here, whole and checked
            perMessageCompressionAccept=lambda _offers: None,  # RFB is compressed already
            autoPingInterval=0,  # ours is in web.heartbeat
            tcpNoDelay=True,
            serveFlashSocketPolicy=False,
            allowedOrigins=["*"],  # decided in web.origin
            allowNullOrigin=True,
        )

    def protocol_for(self, opened: Callable[[BrowserLeg], None]) -> BrowserProtocol:
        """Return a protocol, not connected, that calls ``opened`` once it is open."""
        protocol = BrowserProtocol(
            opened, self._clock, self._heartbeat_s, self._longest_frame, self._takes_text
        )
        protocol.factory = self
        return protocol
