"""The one HTTP/1.1 server: a site whose connections may neither wait nor send without end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.http import HTTPChannel, _ChunkedTransferDecoder, _MalformedChunkedDataError
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from typing_extensions import override

from vncproxy.edge.pending import PendingConnections, accepted_transport
from vncproxy.errors import Malformed
from vncproxy.interfaces import IStreamTransport
from vncproxy.redaction import shown_path
from vncproxy.splice.wire import hold_until_taken
from vncproxy.web.answers import json_answer, set_common_headers
from vncproxy.web.forwarding import Forwarding
from vncproxy.web.headers import fault_in
from vncproxy.web.request import check_target, count_parameters, wants_websocket

LARGEST_BODY_BYTES = 65536
MOST_PARAMETERS = 256  # of a URL's query: each costs Python many times its bytes
MOST_SEGMENTS = 256  # of a URL's path
MOST_CHUNKS = 1024  # of a body: honest ones have some KiB each
_TRAILER_BYTES = 1024  # nobody here reads them
_HEADER_OVERHEAD = 256  # bytes that Python takes for a header, or a parameter, beside its text
_MOST_DISCARDED_BYTES = 1 << 20
_LAST_WORDS_S = 1.0  # for a peer to take an answer that ends its connection
_LAST_ANSWER = (
    b"HTTP/1.1 %b\r\nServer: vncproxy\r\nConnection: close\r\nCache-Control: no-store\r\n"
    b"Content-Type: text/plain\r\nX-Content-Type-Options: nosniff\r\nContent-Length: %d\r\n\r\n%b"
)
_BAD_REQUEST = b"400 Bad Request"
_BODY_TOO_LARGE = b"413 Content Too Large"
_URI_TOO_LONG = b"414 URI Too Long"
_HEADERS_TOO_LARGE = b"431 Request Header Fields Too Large"


@dataclass(frozen=True, slots=True)
class Hardening:
    """What the connections of a site are held to.

    Attributes:
        pending: bounds those that are nobody's yet.
        forwarding: decides what of balancers' headers is believed.
        timeout_s: seconds for a client to send a request, or to take some of an answer.
        clock: runs that time-out.
        max_request_size: bytes of a request's first line and headers.
    """

    pending: PendingConnections
    forwarding: Forwarding
    timeout_s: float
    clock: IReactorTime
    max_request_size: int = 65536


class HardenedSite(Site):
    """A listener's HTTP/1.1 side.

    Args:
        resource: the root of what it serves.
        hardening: of its connections.
        frame_ancestors: who may frame what is served.
    """

    noisy = False
    judges_upgrades = False  # whether a subclass judges, and counts, requests for a WebSocket
    _log = Logger()

    def __init__(
        self, resource: Resource, hardening: Hardening, frame_ancestors: Sequence[str] = ()
    ) -> None:
        super().__init__(
            resource,
            requestFactory=BoundedRequest,
            reactor=hardening.clock,
            parsePOSTFormSubmission=False,  # nobody here reads forms
        )
        self.hardening = hardening
        self._frame_ancestors = tuple(frame_ancestors)

    @override
    def buildProtocol(self, addr: IAddress | None) -> Any:
        channel: Any = HardenedChannel(self.hardening)
        channel.factory = channel.site = self
        channel.requestFactory = self.requestFactory
        return channel

    @override
    def getResourceFor(self, request: Request) -> IResource:
        set_common_headers(request, self._frame_ancestors)
        self.hardening.forwarding.apply(request)
        if not (self.judges_upgrades and wants_websocket(request)):
            try:
                check_target(request)
            except Malformed as error:
                return _BadRequest(error)
        if request.method == b"OPTIONS" and request.path == b"/":
            return _Options()
        return self.resource_for(request)

    def resource_for(self, request: Request) -> IResource:
        """Return what answers a request, of which is known whose it is."""
        resource: IResource = super().getResourceFor(request)
        return resource

    @override
    def log(self, request: HTTPRequest) -> None:
        """Log an answered request, without its query and what else may be a token."""
        self._log.debug(
            "{client} {method} {path} {status}",
            client=getattr(request.getClientAddress(), "host", "-"),
            method=request.method.decode("ascii", "replace"),
            path=shown_path(request.path),
            status=request.code,
        )

    @override
    def acceptableProtocols(self) -> list[bytes]:
        """Offer HTTP/1.1 only: Twisted has no WebSocket over HTTP/2."""
        return [b"http/1.1"]


class _BadRequest(Resource):
    """Answers 400 in JSON, with the fault's words."""

    isLeaf = True

    def __init__(self, fault: Malformed) -> None:
        super().__init__()
        self._message = str(fault)

    @override
    def render(self, request: Request) -> bytes:
        return json_answer(request, 400, {"code": "malformed", "message": self._message})


class _Options(Resource):
    """Answers that the server is there, to balancers' oldest health check (RFC 9110 §9.3.7)."""

    isLeaf = True

    @override
    def render(self, request: Request) -> bytes:
        request.setResponseCode(204)
        request.setHeader(b"allow", b"GET, HEAD, OPTIONS")
        return b""


class BoundedRequest(Request):
    """A request whose body is kept in memory, as it has a bound.

    Attributes:
        body_bytes: how much of it has come.
        chunks: in how many pieces.
    """

    body_bytes = 0
    chunks = 0

    @override
    def gotLength(self, length: int | None) -> None:
        super().gotLength(0)  # or Twisted would make a file for a body whose length was not told

    @override
    def handleContentChunk(self, data: bytes) -> None:
        self.body_bytes += len(data)
        self.chunks += 1
        if self.chunks > MOST_CHUNKS:
            raise _MalformedChunkedDataError  # which ends Twisted's loop over what is here of them
        if self.body_bytes <= LARGEST_BODY_BYTES:
            super().handleContentChunk(data)
        elif self.channel is not None:
            cast("HardenedChannel", self.channel).refuse_body()

    @override
    def render(self, resrc: IResource) -> None:
        """Render; for HEAD without Twisted's line in the log for each answer that has a body."""
        if self.method != b"HEAD":
            super().render(resrc)
            return
        try:
            body: Any = resrc.render(self)
        except UnsupportedMethod:
            super().render(resrc)
            return
        if body is not NOT_DONE_YET:
            self.setHeader(b"content-length", b"%d" % len(body))
            self.write(b"")
            self.finish()


class HardenedChannel(HTTPChannel):
    """Twisted's, with a bound to the time, size and number of requests not yet complete.

    Twisted's own time-out begins anew with each byte. The deadline here does not: a whole request
    must be there so many seconds after the connection was made, or the last answer was sent; and
    a peer that takes nothing of an answer for as long is cut off.

    The next request is parsed when the peer has taken the last answer. So of answers there is one
    at most, and of requests one a turn, however many came at once.

    Args:
        hardening: what it is held to.
    """

    transport: ITCPTransport | None
    timeOut = None  # Twisted's own

    def __init__(self, hardening: Hardening) -> None:
        super().__init__()
        self._pending = hardening.pending
        self._timeout_s = hardening.timeout_s
        self._clock = hardening.clock
        self._most_bytes = hardening.max_request_size
        self.totalHeadersSize = self.MAX_LENGTH = hardening.max_request_size
        self._reading = "request line is"
        self._deadline: IDelayedCall | None = None
        self._answered = False
        self._over = False
        self._discarded_bytes = 0
        self._whole_bytes = 0

    @override
    def connectionMade(self) -> None:
        super().connectionMade()
        self._accepted = accepted_transport(self.transport)
        if self._pending.enter(self._accepted, self):
            self._begin_deadline()
        else:
            self._turn_away(b"503 Service Unavailable")

    def give_way(self) -> None:
        """Close: there are newer connections, and this one asks for nothing."""
        self._turn_away(b"408 Request Timeout")

    def let_go(self) -> None:
        """Forget the connection: a WebSocket has taken it over."""
        self._stop_deadline()
        self._pending.leave(self._accepted)

    def close_if_idle(self) -> None:
        """Close it, unless the first request has yet to come, or one is being answered."""
        if self._answered and not self.requests and not self._buffer:
            self.loseConnection()

    def retire(self) -> None:
        """Close it, at once or when its request is answered."""
        if self._handlingRequest:
            self.persistent = False
        else:
            self._abort()

    @override
    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self._pending.holds(self._accepted, self._held_bytes())

    def _held_bytes(self) -> int:
        """Return how much is here of requests, until each is answered to its end."""
        if self._over or self.transport is None:
            return 0
        held: int = len(self._buffer) + sum(map(len, self._dataBuffer))
        if self.requests:
            head = self._whole_bytes if self._handlingRequest else self._head_bytes()
            held += head + self.requests[-1].body_bytes
        return held

    def _head_bytes(self) -> int:
        """Return about what Python takes for the request line and headers that are here."""
        return int(self._receivedHeaderSize + self._receivedHeaderCount * _HEADER_OVERHEAD)

    @override
    def lineReceived(self, line: bytes) -> None:
        is_first = not self._receivedHeaderSize
        self._reading = "request line is" if is_first else "headers are"
        if line[:1] in (b" ", b"\t") and not is_first:  # RFC 9112 §5.2; and they are not counted
            why = "a header goes on in a second line"
            self._refuse(_BAD_REQUEST, why, still_sends=True)
            return
        if self._receivedHeaderSize + len(line) > self._most_bytes:
            self._refuse_size(is_first)
        else:
            super().lineReceived(line)

    @override
    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse_size(is_first=not self._receivedHeaderSize)

    def _refuse_size(self, is_first: bool) -> None:
        status, part = (_URI_TOO_LONG, "URL") if is_first else (_HEADERS_TOO_LARGE, "headers")
        why = f"the {part} of the request would be larger than max_request_size"
        hint = "" if is_first else " Delete this site's cookies, and try again."
        words = f"More than {self._most_bytes / 1024:g} KiB of {part} are not taken.{hint}"
        self._refuse(status, why, words, still_sends=True)

    @override
    def rawDataReceived(self, data: bytes) -> None:
        if not self._over:
            self._reading = "body is"
            super().rawDataReceived(data)
            return
        self._discarded_bytes += len(data)
        if self._discarded_bytes > _MOST_DISCARDED_BYTES:
            self._abort()

    @override
    def headerReceived(self, line: bytes) -> bool:
        if self._receivedHeaderCount >= self.maxHeaders:
            why = f"the request has more than {self.maxHeaders} headers"
            self._refuse(_HEADERS_TOO_LARGE, why, still_sends=True)
            return False
        try:
            received: bool = super().headerReceived(line)
        except ValueError:  # a length of more digits than Python reads
            self._respondToBadRequestAndDisconnect()
            return False
        return received

    @override
    def allHeadersReceived(self) -> None:
        fault = _fault_of(self._path) or fault_in(self.requests[-1].requestHeaders)
        if fault:
            self._refuse(_BAD_REQUEST, fault)
        elif (self.length or 0) > LARGEST_BODY_BYTES:
            self.refuse_body()
        else:
            super().allHeadersReceived()
            if isinstance(self._transferDecoder, _ChunkedTransferDecoder):
                self._transferDecoder._maxTrailerHeadersSize = _TRAILER_BYTES

    def refuse_body(self) -> None:
        """Answer that the request's body is too large, and take no more of it."""
        why = f"the body is larger than {LARGEST_BODY_BYTES} bytes"
        self._refuse(_BODY_TOO_LARGE, why, still_sends=True)

    @override
    def allContentReceived(self) -> None:
        if self._over:
            return
        self._stop_deadline()
        self._whole_bytes = self._head_bytes() + count_parameters(self._path) * _HEADER_OVERHEAD
        self._pending.asks(self._accepted)
        super().allContentReceived()

    @override
    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:
        self._pending.answered(self._accepted)
        super().writeHeaders(version, code, reason, headers)

    @override
    def write(self, data: bytes) -> None:
        super().write(data)
        if self._requestProducer is not None:
            hold_until_taken(self.transport)

    @override
    def requestDone(self, request: Any) -> None:
        self._answered = True
        self._stop_deadline()
        self._begin_deadline()
        self.paused = True  # LineReceiver's: what is here of the next request is parsed later
        super().requestDone(request)
        self._pending.holds(self._accepted, self._held_bytes())
        if hold_until_taken(self.transport):
            self._networkProducer.pauseProducing()
        else:
            self._parse_on()

    def _parse_on(self) -> None:
        """Parse the next request: the last answer has left, and another turn has begun."""
        if self.paused and not self._handlingRequest:
            self.paused = False
            self.dataReceived(b"")

    @override
    def pauseProducing(self) -> None:
        self._begin_deadline()  # for the peer to take some of its answer
        super().pauseProducing()

    @override
    def resumeProducing(self) -> None:
        if self.requests and self._handlingRequest:
            self._stop_deadline()
        super().resumeProducing()
        self._parse_on()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.let_go()
        super().connectionLost(reason)

    def _begin_deadline(self) -> None:
        if self._deadline is None and self._timeout_s:
            self._deadline = self._clock.callLater(self._timeout_s, self._too_late)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self._handlingRequest:  # a status would stand in the middle of an answer
            self._abort()
        else:
            self._end_with(b"408 Request Timeout")

    def _turn_away(self, status: bytes) -> None:
        """Make room at once: the end of TLS would take the peer's help."""
        if self._over or self._handlingRequest or isinstance(self.transport, ProtocolWrapper):
            self._abort()
        else:
            self._end_with(status)

    @override
    def _respondToBadRequestAndDisconnect(self) -> None:
        in_body = self._reading == "body is"
        self._refuse(_BAD_REQUEST, f"the {self._reading} malformed", still_sends=in_body)

    def _refuse(self, status: bytes, why: str, words: str = "", still_sends: bool = False) -> None:
        """Answer that the request's form is not accepted, and tell of it."""
        if self._over or self.transport is None:
            return
        peer = getattr(self.transport.getPeer(), "host", None) or "a local socket"
        self._pending.bad_requests.refused(peer, int(status[:3]), why)
        self._end_with(status, words or why, still_sends)

    def _end_with(self, status: bytes, words: str = "", still_sends: bool = False) -> None:
        """Answer with a status and words, and close, whether the peer reads it or not.

        The connection is nobody's until it is closed. While the peer still sends, to close would
        make the kernel take the status back (RFC 9112 §9.6), so only our side of it is.
        """
        transport = self.transport
        if self._over or transport is None:
            return
        self._over = True
        self._stop_deadline()
        self._deadline = self._clock.callLater(_LAST_WORDS_S, self._too_late_to_read)
        self.setRawMode()
        body = f"{words}\n".encode() if words else b""
        transport.write(_LAST_ANSWER % (status, len(body), body))
        if still_sends and not isinstance(transport, ProtocolWrapper):
            cast("IStreamTransport", transport).unregisterProducer()
            transport.loseWriteConnection()
        else:
            self.loseConnection()

    def _too_late_to_read(self) -> None:
        self._deadline = None
        self._abort()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()


def close_after(request: Request) -> None:
    """Let an answer that is not begun yet be its connection's last.

    A refusal is told in the logs, in more bytes than it takes to ask for it. So whoever wants
    another has to connect for it, and can't send a thousand requests in one packet.
    """
    request.setHeader(b"connection", b"close")
    if isinstance(request.channel, HardenedChannel):
        request.channel.persistent = False


def _fault_of(target: bytes) -> str | None:
    """Return why a request line's target can't be meant as it is; None where it can."""
    if not target.isascii():
        return "the request line is not ASCII"
    if target.partition(b"?")[0].count(b"/") > MOST_SEGMENTS:
        return f"the URL's path has more than {MOST_SEGMENTS} segments"
    if count_parameters(target) > MOST_PARAMETERS:
        return f"the URL has more than {MOST_PARAMETERS} parameters"
    return None
