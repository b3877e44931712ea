"""The values that travel through the gateway: tokens, grants, and how sessions end."""

from __future__ import annotations

import enum
import hashlib
import uuid
from dataclasses import dataclass, field

NO_INSTANCE = str(uuid.UUID(int=0))  # of tokens that are for a host and a port, and no machine


class Ending(enum.Enum):
    """Every way in which a request for a console, or the console itself, can end.

    The value is the word that log lines, metrics and JSON answers use. What a client is told for
    each is in ``vncproxy.errors.ANSWERS``.
    """

    # Refused by the gate, before the WebSocket exists: only an attacker or a broken client.
    MALFORMED = "malformed"
    NO_TOKEN = "no-token"
    ORIGIN_REFUSED = "origin-refused"
    # Refused for a limit, before the token is looked up.
    CLIENT_TOO_FAST = "client-too-fast"
    FAILED_TOKENS = "failed-tokens"
    GATEWAY_CROWDED = "gateway-crowded"
    # Refused by the gate in words: an honest user meets these.
    TOKEN_INVALID = "token-invalid"
    TOKEN_EXPIRED = "token-expired"
    TOKEN_USED = "token-used"
    WRONG_CONSOLE_TYPE = "wrong-console-type"
    STORE_UNAVAILABLE = "store-unavailable"
    AUDIT_UNAVAILABLE = "audit-unavailable"
    # Refused for a limit, in words.
    GATEWAY_FULL = "gateway-full"
    CLIENT_FULL = "client-full"
    INSTANCE_FULL = "instance-full"
    TOKEN_FULL = "token-full"
    # The compute side says that the console is not, or no longer, that machine's.
    INSTANCE_GONE = "instance-gone"
    PORT_CHECK_FAILED = "port-check-failed"
    PORT_CHECK_UNAVAILABLE = "port-check-unavailable"
    # The console is where the gateway may not go.
    TARGET_FORBIDDEN = "target-forbidden"
    # The console could not be reached or did not let us in.
    TARGET_REFUSED = "target-refused"
    TARGET_UNRESOLVED = "target-unresolved"
    TARGET_UNREACHABLE = "target-unreachable"
    TARGET_TIMEOUT = "target-timeout"
    TARGET_CLOSED = "target-closed"
    TARGET_NOT_RFB = "target-not-rfb"
    TARGET_SECURITY = "target-security"
    TARGET_PASSWORD = "target-password"
    TARGET_LOCKED = "target-locked"
    NEGOTIATION_TIMEOUT = "negotiation-timeout"
    # The client broke a protocol, or went away.
    CLIENT_NOT_RFB = "client-not-rfb"
    CLIENT_PROTOCOL = "client-protocol"
    CLIENT_FLOOD = "client-flood"
    CLIENT_CLOSED = "client-closed"
    CLIENT_LOST = "client-lost"
    # The session ran, and then:
    SESSION_EXPIRED = "session-expired"
    TOKEN_REVOKED = "token-revoked"
    SERVER_CLOSED = "server-closed"
    SERVER_LOST = "server-lost"
    CLIENT_IDLE = "client-idle"
    SERVER_IDLE = "server-idle"
    SESSION_TOO_LONG = "session-too-long"
    GATEWAY_STOPPING = "gateway-stopping"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Token:
    """A console token: the secret in a console's URL. Its text never shows in ``repr``."""

    text: str = field(repr=False)

    @property
    def hash(self) -> str:
        """Lower-case hex SHA-256 of the text: nova's ``console_auth_tokens.token_hash``."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def id(self) -> str:
        """The short name that logs and commands use for this token."""
        return token_id(self.hash)

    @classmethod
    def new(cls) -> Token:
        """Return a fresh random token: a version 4 UUID, as nova issues them."""
        return cls(str(uuid.uuid4()))


def token_id(token_hash: str) -> str:
    """Return the short name of the token with this hash: enough to find, too little to use."""
    return token_hash[:12]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a VNC server asks the gateway for, so that no browser needs to know it."""

    password: str = field(repr=False)
    username: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid token opens: one row of nova's table ``console_auth_tokens``.

    Attributes:
        token_hash: hex SHA-256 of the token.
        console_type: ``novnc``, ``serial``, ``spice-html5`` ...
        host: name or address of the console's server, or the path of a UNIX socket.
        port: TCP port; 0 with a UNIX socket.
        instance_uuid: the virtual machine.
        expires: Unix seconds; from that second on the token is worthless.
        access_url_base: URL the token was issued for, without the token.
        internal_access_path: path of an HTTP CONNECT to make first, or None.
        credentials: for the console's server, where the token came with them.
        cell: the OpenStack cell whose database has the token; "" for the one of [database].
        ours: whether the gateway's embedded database has it, which only the gateway and its
            commands write; such a token may name any UNIX socket (see ``target_rules``).
    """

    token_hash: str
    console_type: str
    host: str
    port: int
    instance_uuid: str
    expires: int
    access_url_base: str | None = None
    internal_access_path: str | None = None
    credentials: Credentials | None = None
    cell: str = ""
    ours: bool = False

    @property
    def token_id(self) -> str:
        """The short name of the token, as in ``Token.id``."""
        return token_id(self.token_hash)

    @property
    def target(self) -> str:
        """Host and port as a person writes them."""
        if self.host.startswith("/"):
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Seat:
    """What a session takes up.

    Attributes:
        client: whom it is for.
        instance: the machine's UUID.
        token: the token's short name.
        channel: whether it is one of several connections that make one session, as SPICE's are;
            a client's channels with one token count once.
    """

    client: str
    instance: str
    token: str
    channel: bool = False


def new_request_id() -> str:
    """Return the name of one request, shown to its user and in the log alike."""
    return f"req-{uuid.uuid4()}"


@dataclass(slots=True)
class SessionFacts:
    """Everything that is known of one session; logs, registry and metrics read it from here.

    Attributes:
        request_id: its name, shown to the user and in the log.
        client: the client's address.
        started: seconds of the gateway's clock when the request arrived.
        grant: what its token opens; None until the token was found.
        bytes_to_client: bytes of the console's stream delivered to the client's side.
        bytes_to_server: bytes of the client's stream delivered to the server's side.
        ending: how it ended; None while it lives.
        detail: more about the ending, for the operator.
        seconds: how long it lived, once it has ended.
        client_certificate: whom the certificate names that the client showed; None for none.
    """

    request_id: str
    client: str
    started: float
    grant: Grant | None = None
    bytes_to_client: int = 0
    bytes_to_server: int = 0
    ending: Ending | None = None
    detail: str = ""
    seconds: float = 0.0
    client_certificate: str | None = None

    @property
    def instance(self) -> str:
        """UUID of the virtual machine, or ``-``."""
        return self.grant.instance_uuid if self.grant else "-"

    @property
    def target(self) -> str:
        """Where the console is, or ``-``."""
        return self.grant.target if self.grant else "-"

    @property
    def token_id(self) -> str:
        """Short name of the token, or ``-``."""
        return self.grant.token_id if self.grant else "-"
