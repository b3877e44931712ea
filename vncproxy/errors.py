"""What can go wrong, and the one answer that each fault gets.

An error carries two texts: ``str(error)`` is for the operator's log and may name hosts and
options; ``words`` is for the tenant and names nothing of the inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vncproxy.model import Ending

Level = Literal["info", "warn", "error"]

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001
CLOSE_UNSUPPORTED_DATA = 1003
CLOSE_POLICY_VIOLATION = 1008
CLOSE_INTERNAL_ERROR = 1011
CLOSE_CLIENT_IDLE = 4408
CLOSE_SESSION_TOO_LONG = 4440
CLOSE_SERVER_IDLE = 4444


@dataclass(frozen=True, slots=True)
class Answer:
    """How an ending looks from outside.

    Attributes:
        status: HTTP status where the answer is given in HTTP.
        close_code: WebSocket close code; 4000 + status for our own refusals (RFC 6455 §7.4.2).
        words: what the user reads; at most 80 bytes, so that a Close frame can carry it, with the
            request id.
        level: of the session's end line in the log.
    """

    status: int
    close_code: int
    words: str
    level: Level = "info"


def _refusal(status: int, words: str, level: Level = "warn") -> Answer:
    return Answer(status, 4000 + status, words, level)


_NEW_LINK = "This console link is not valid or has expired. Open the console again."
_BUSY = "The gateway serves as many consoles as it can. Try again in a few minutes."
_NOT_READY = "The machine's console cannot be reached. Is the machine running?"
_MISFIT = "The gateway and the machine's console could not agree on how to connect."

ANSWERS: dict[Ending, Answer] = {
    Ending.MALFORMED: _refusal(400, "This is not a valid WebSocket request."),
    Ending.NO_TOKEN: _refusal(401, "The console link has no token. Open the console again."),
    Ending.ORIGIN_REFUSED: _refusal(403, "This console may not be opened from that web page."),
    Ending.CLIENT_TOO_FAST: _refusal(429, "Too many consoles were opened at once. Try again soon."),
    Ending.FAILED_TOKENS: _refusal(
        429, "Too many bad links came from here. Wait a few minutes, then open a new one."
    ),
    Ending.GATEWAY_CROWDED: _refusal(503, _BUSY),
    Ending.TOKEN_INVALID: _refusal(401, _NEW_LINK),
    Ending.TOKEN_EXPIRED: _refusal(401, _NEW_LINK),
    Ending.TOKEN_USED: _refusal(
        401, "This console link was used already. Open the console again to get a new one."
    ),
    Ending.WRONG_CONSOLE_TYPE: _refusal(403, "This link opens another kind of console."),
    Ending.STORE_UNAVAILABLE: _refusal(
        503, "The gateway can't check console links now. Try again in a minute.", "error"
    ),
    Ending.AUDIT_UNAVAILABLE: _refusal(
        503, "The gateway can't record sessions now, so it opens none. Try again later.", "error"
    ),
    Ending.GATEWAY_FULL: _refusal(503, _BUSY, "error"),
    Ending.CLIENT_FULL: _refusal(429, "Too many consoles are open from here. Close one first."),
    Ending.INSTANCE_FULL: _refusal(
        429, "This machine's console is open too many times. Close one of them first."
    ),
    Ending.TOKEN_FULL: _refusal(429, "This console link is open too many times. Close one first."),
    Ending.INSTANCE_GONE: _refusal(404, _NEW_LINK),
    Ending.PORT_CHECK_FAILED: _refusal(401, _NEW_LINK),
    Ending.PORT_CHECK_UNAVAILABLE: _refusal(
        503, "The gateway can't ask the machine's host now. Try again in a minute.", "error"
    ),
    Ending.TARGET_FORBIDDEN: _refusal(
        403, "The gateway may not connect to this machine's console.", "error"
    ),
    Ending.TARGET_UNRESOLVED: _refusal(
        503, "The gateway can't look up the machine's host now. Try again in a minute.", "error"
    ),
    Ending.TARGET_REFUSED: _refusal(502, _NOT_READY),
    Ending.TARGET_UNREACHABLE: _refusal(504, _NOT_READY),
    Ending.TARGET_TIMEOUT: _refusal(504, _NOT_READY),
    Ending.TARGET_CLOSED: _refusal(502, "The machine closed its console while it was opened."),
    Ending.TARGET_NOT_RFB: _refusal(502, _MISFIT, "error"),
    Ending.TARGET_SECURITY: _refusal(502, _MISFIT, "error"),
    Ending.TARGET_PASSWORD: _refusal(
        502, "The gateway has no password that the machine's console accepts.", "error"
    ),
    Ending.TARGET_LOCKED: _refusal(
        503, "The machine's console lets nobody in for a while. Try again in a minute.", "error"
    ),
    Ending.NEGOTIATION_TIMEOUT: _refusal(504, "The console took too long to open. Try again."),
    Ending.CLIENT_NOT_RFB: _refusal(400, "The client does not speak RFB."),
    Ending.CLIENT_PROTOCOL: _refusal(400, "The client broke the WebSocket protocol."),
    Ending.CLIENT_FLOOD: Answer(
        429,
        CLOSE_POLICY_VIOLATION,
        "The client sends too many frames with nothing in them.",
        "warn",
    ),
    Ending.CLIENT_CLOSED: Answer(200, CLOSE_NORMAL, ""),
    Ending.CLIENT_LOST: Answer(200, CLOSE_NORMAL, ""),
    Ending.SESSION_EXPIRED: Answer(
        401, 4401, "The time for this console is over. Open the console again."
    ),
    Ending.TOKEN_REVOKED: Answer(
        401, 4401, "Access to this console has ended. If the machine has moved, open it again."
    ),
    Ending.SERVER_CLOSED: Answer(200, CLOSE_NORMAL, "The machine closed the console."),
    Ending.SERVER_LOST: Answer(502, 4502, "The connection to the machine broke.", "warn"),
    Ending.CLIENT_IDLE: Answer(
        408, CLOSE_CLIENT_IDLE, "The console was closed because nobody used it for a while."
    ),
    Ending.SERVER_IDLE: Answer(
        408, CLOSE_SERVER_IDLE, "The console was closed because its screen did not change."
    ),
    Ending.SESSION_TOO_LONG: Answer(
        408, CLOSE_SESSION_TOO_LONG, "The longest time for a console is over. Open it again."
    ),
    Ending.GATEWAY_STOPPING: Answer(
        503, CLOSE_GOING_AWAY, "The console gateway is being restarted."
    ),
    Ending.INTERNAL: Answer(500, CLOSE_INTERNAL_ERROR, "The console gateway has a fault.", "error"),
}


class GatewayError(Exception):
    """A fault with a known ending; ``str()`` of it is for the operator only.

    Attributes:
        ending: how the session it happens to is said to have ended.
        words: what the tenant is told.
    """

    ending: Ending = Ending.INTERNAL

    def __init__(self, for_operator: str, words: str | None = None) -> None:
        super().__init__(for_operator)
        self.words = ANSWERS[self.ending].words if words is None else words


class Malformed(GatewayError):
    """The request is no WebSocket handshake that RFC 6455 §4.2.1 allows."""

    ending = Ending.MALFORMED


class NoToken(GatewayError):
    """The request names no token, neither in its query nor in a cookie."""

    ending = Ending.NO_TOKEN


class OriginRefused(GatewayError):
    """A browser sent the request for a page of a site that may not open consoles."""

    ending = Ending.ORIGIN_REFUSED


class Later(GatewayError):
    """Too much came at once.

    Attributes:
        retry_after_s: seconds after which the client may try again.
    """

    def __init__(self, for_operator: str, retry_after_s: float) -> None:
        super().__init__(for_operator)
        self.retry_after_s = retry_after_s


class ClientTooFast(Later):
    """A client asks for more consoles a second than ``[vncproxy] connection_rate``."""

    ending = Ending.CLIENT_TOO_FAST


class TooManyFailedTokens(Later):
    """A client showed bad tokens, ``[vncproxy] failed_tokens`` in a row or more."""

    ending = Ending.FAILED_TOKENS


class GatewayCrowded(GatewayError):
    """So many are being refused in words that this one is refused in HTTP."""

    ending = Ending.GATEWAY_CROWDED


class GatewayFull(GatewayError):
    """The node has ``[vncproxy] max_sessions`` sessions."""

    ending = Ending.GATEWAY_FULL


class ClientFull(GatewayError):
    """The client has ``[vncproxy] max_sessions_per_client`` sessions."""

    ending = Ending.CLIENT_FULL


class InstanceFull(GatewayError):
    """The machine has ``[vncproxy] max_sessions_per_instance`` sessions."""

    ending = Ending.INSTANCE_FULL


class TokenFull(GatewayError):
    """The token has ``[vncproxy] max_sessions_per_token`` sessions."""

    ending = Ending.TOKEN_FULL


class AuditUnavailable(GatewayError):
    """The audit log can't be written, and ``[vncproxy] audit_required`` is set."""

    ending = Ending.AUDIT_UNAVAILABLE


class TokenInvalid(GatewayError):
    """No row has the token: never issued, revoked, or purged after it expired."""

    ending = Ending.TOKEN_INVALID


class TokenExpired(GatewayError):
    """The token's row is there, but its time has passed."""

    ending = Ending.TOKEN_EXPIRED


class TokenUsed(GatewayError):
    """The token opens its console once, and somebody else did that, or too long ago."""

    ending = Ending.TOKEN_USED


class WrongConsoleType(GatewayError):
    """The token opens a console of another type than this listener serves."""

    ending = Ending.WRONG_CONSOLE_TYPE


class StoreUnavailable(GatewayError):
    """The token database did not answer, or not in time."""

    ending = Ending.STORE_UNAVAILABLE


class InstanceGone(GatewayError):
    """The token's machine does not exist any more, or is on no host."""

    ending = Ending.INSTANCE_GONE


class PortCheckFailed(GatewayError):
    """The token's port is not, or no longer, that machine's console."""

    ending = Ending.PORT_CHECK_FAILED


class PortCheckUnavailable(GatewayError):
    """Whether the port is still that machine's could not be found out; so it counts as not."""

    ending = Ending.PORT_CHECK_UNAVAILABLE


class TargetForbidden(GatewayError):
    """The console's address or port is not among ``[vncproxy] target_networks``, ``target_ports``.

    Without those options: it is one that no console has, such as a cloud's metadata service.
    """

    ending = Ending.TARGET_FORBIDDEN


class TargetRefused(GatewayError):
    """The console's host refused the connection: nothing listens there."""

    ending = Ending.TARGET_REFUSED


class TargetUnresolved(GatewayError):
    """Where the console's host is could not be found out: no name server answered, or not in time.

    A name of which it is known that no host has it is ``TargetUnreachable``.
    """

    ending = Ending.TARGET_UNRESOLVED


class TargetUnreachable(GatewayError):
    """The console's host has no address or no route."""

    ending = Ending.TARGET_UNREACHABLE


class TargetTimeout(GatewayError):
    """The console's host did not answer in time."""

    ending = Ending.TARGET_TIMEOUT


class HandshakeError(GatewayError):
    """A handshake failed. The only error that dialogues raise (``rfb.dialogue``)."""

    ending = Ending.TARGET_NOT_RFB


class ConnectRefused(HandshakeError):
    """The hypervisor did not connect us to the console behind ``internal_access_path``."""

    ending = Ending.TARGET_REFUSED


class NotRfb(HandshakeError):
    """The VNC server broke the protocol of RFC 6143 or VeNCrypt."""

    ending = Ending.TARGET_NOT_RFB


class ServerGone(HandshakeError):
    """The VNC server closed the connection in the middle of the handshake."""

    ending = Ending.TARGET_CLOSED


class SecurityFailed(HandshakeError):
    """The VNC server refused us, or we its security: types, certificate."""

    ending = Ending.TARGET_SECURITY


class PasswordRefused(SecurityFailed):
    """The VNC server wants a password, or a user's name, and ours is not it, or we have none."""

    ending = Ending.TARGET_PASSWORD


class LockedOut(SecurityFailed):
    """The VNC server refuses whoever comes from our address, for a time, after failures."""

    ending = Ending.TARGET_LOCKED


class SessionExpired(GatewayError):
    """The token that opened the console has expired, and ``enforce_session_timeout`` is on."""

    ending = Ending.SESSION_EXPIRED


class NegotiationTimeout(HandshakeError):
    """The handshake was not done in ``[vncproxy] negotiation_timeout`` seconds."""

    ending = Ending.NEGOTIATION_TIMEOUT


class ClientNotRfb(HandshakeError):
    """The client's bytes are no RFB handshake, or chose a security type we did not offer."""

    ending = Ending.CLIENT_NOT_RFB
