"""A gateway's web side in memory: raw requests in, raw answers out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.helpers import RecordingObserver
from vncproxy.edge.networks import TrustedProxies
from vncproxy.edge.pending import PendingConnections
from vncproxy.errors import GatewayError, TokenInvalid, TokenUsed
from vncproxy.kinds import NOVNC, Kind
from vncproxy.limits.failures import FailedTokens
from vncproxy.limits.node import NodeLimits
from vncproxy.limits.rate import Rate
from vncproxy.limits.seats import MostSessions, Seats
from vncproxy.model import Grant, Token
from vncproxy.observers import Observers
from vncproxy.opening import RawOpening
from vncproxy.registry import Registry
from vncproxy.rfb.negotiator import Negotiator
from vncproxy.session import SessionPolicy
from vncproxy.target import Dialer, Reached
from vncproxy.tokens.sql import SqlTokenUses
from vncproxy.tokens.uses import Use
from vncproxy.web.admission import Admission
from vncproxy.web.forwarding import Forwarding
from vncproxy.web.gate import Gate
from vncproxy.web.origin import OriginRules
from vncproxy.web.server import Hardening
from vncproxy.web.site import ConsoleSite, page_tree
from vncproxy.web.upgrade import ConsoleUpgrade, Verdict
from vncproxy.web.websocket import BrowserFactory

HANDSHAKE = {
    "Host": "gateway:6080",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class FakeStore:
    """A store of a few tokens, which answers at once, or when the test says so."""

    def __init__(self) -> None:
        self.grants: dict[str, Grant] = {}
        self.asked: list[Token] = []
        self.pending: list[Deferred[Grant]] | None = None
        self.cancelled = 0

    def find(self, token: Token) -> Deferred[Grant]:
        """Return the token's grant."""
        self.asked.append(token)
        if self.pending is not None:
            self.pending.append(Deferred(self._count_cancel))
            return self.pending[-1]
        if token.text in self.grants:
            return succeed(self.grants[token.text])
        return fail(TokenInvalid("unknown"))

    def _count_cancel(self, _deferred: object) -> None:
        self.cancelled += 1


class FakeCheck:
    """A check of grants that fails with ``error``, if there is one."""

    def __init__(self) -> None:
        self.asked: list[Grant] = []
        self.error: GatewayError | None = None

    def check(self, grant: Grant) -> Deferred[None]:
        """Pass, or not."""
        self.asked.append(grant)
        return fail(self.error) if self.error else succeed(None)


class FakeUses:
    """Uses of tokens: none is of single use, unless the test says so."""

    def __init__(self) -> None:
        self.single_use: set[str] = set()
        self.used: dict[str, str] = {}
        self.ended_with: list[str] = []
        self.error: GatewayError | None = None

    def use(self, grant: Grant, client: str, secret: str | None, new_secret: str) -> Deferred[Use]:
        """Use a token."""
        if self.error is not None:
            return fail(self.error)
        if grant.token_hash not in self.single_use:
            return succeed(Use.UNCOUNTED)
        if grant.token_hash not in self.used:
            self.used[grant.token_hash] = new_secret
            return succeed(Use.FIRST)
        if self.used[grant.token_hash] == secret:
            return succeed(Use.RESUMED)
        return fail(TokenUsed("used"))

    def check(self, grant: Grant, secret: str | None) -> Deferred[None]:
        """Fail where it was used by another."""
        if self.used.get(grant.token_hash, secret) != secret:
            return fail(TokenUsed("used"))
        return succeed(None)

    def ended(self, grant: Grant, secret: str) -> Deferred[None]:
        """Keep with which secret a session was opened that has ended."""
        self.ended_with.append(secret)
        return succeed(None)


class NoDialer:
    """Never gets an answer."""

    async def dial(self, grant: Grant) -> Reached:
        """Wait for ever."""
        never: Deferred[Reached] = Deferred()
        return await never


class Connection(StringTransport):
    """A client's connection to the site."""

    protocol: Protocol
    disconnected = False
    half_closed = False

    def abortConnection(self) -> None:
        """Note that the connection is dropped."""
        self.disconnected = True

    def loseWriteConnection(self) -> None:
        """Note that our side of it is closed."""
        self.half_closed = True

    def unregisterProducer(self) -> None:
        """Let go of the producer, if there is one: Twisted's real transports ask no more."""
        self.producer = None
        self.streaming = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Take the option."""

    def send(self, data: bytes) -> None:
        """Send bytes as the client."""
        self.protocol.dataReceived(data)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (names in lower case) and body of what was answered."""
        head, _, body = self.value().partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return int(status.split()[1]), {k.lower(): v for k, v in headers.items()}, body


def connected_to(site: Site, client: str = "192.0.2.1") -> Connection:
    """Return a client's new connection to the site."""
    kind = IPv6Address if ":" in client else IPv4Address
    connection = Connection(peerAddress=kind("TCP", client, 50000))
    channel = site.buildProtocol(connection.getPeer())
    assert channel is not None
    connection.protocol = cast(Protocol, channel)
    channel.makeConnection(connection)
    return connection


def hardening_for(
    clock: IReactorTime,
    pending: PendingConnections | None = None,
    forwarding: Forwarding | None = None,
) -> Hardening:
    """Return what tests' sites hold their connections to: 30 s for a request."""
    if pending is None:
        pending = PendingConnections(0, clock)
    forwarding = forwarding or Forwarding(TrustedProxies())
    return Hardening(pending, forwarding, 30, clock)


class WebHarness:
    """A site with a fake store; tests add grants to ``store``.

    Args:
        library: the directory of noVNC, or what else draws the kind's consoles.
        allowed_origins: as configured.
        kind: of the consoles that the site is for.
        pages: makes the resources of plain requests.
        forwarding: what is believed of balancers; by default nobody is one.
        rate: consoles a second of a client, one at once; 0 for any number.
        failed_tokens: bad tokens of a client.
        most: sessions.
        most_pending: connections without a session.
    """

    def __init__(
        self,
        library: Path | None = None,
        allowed_origins: tuple[str, ...] = (),
        kind: Kind = NOVNC,
        pages: Callable[[Path | None, Sequence[str]], Resource] = page_tree,
        forwarding: Forwarding | None = None,
        rate: float = 0,
        failed_tokens: int = 0,
        most: MostSessions = MostSessions(),  # noqa: B008  it is frozen
        most_pending: int = 0,
    ) -> None:
        self.clock = Clock()
        self.store = FakeStore()
        self.observer = RecordingObserver()
        self.registry = Registry(self.clock, 3.0)
        opener = partial(Negotiator, auth_schemes=["none"]) if kind.speaks_rfb else RawOpening
        self.check = FakeCheck()
        self.pending = PendingConnections(most_pending, self.clock)
        self.uses = FakeUses()
        limits = NodeLimits(
            Rate(rate, 1, self.clock.seconds),
            FailedTokens(failed_tokens, self.clock.seconds),
            Seats(most),
        )
        gate = Gate(self.store, OriginRules(allowed_origins), [kind.console_type], [self.check])
        self.admission = Admission(
            gate, limits, cast(SqlTokenUses, self.uses), lambda: 1_700_000_000, framed=False
        )
        policy = SessionPolicy(
            self.clock,
            cast(Dialer, NoDialer()),
            opener,
            15.0,
            Observers([self.admission, self.observer]),
        )
        self.site = ConsoleSite(
            pages=pages(library, ["'self'"]),
            upgrade=ConsoleUpgrade(
                self.admission,
                policy,
                self.registry,
                BrowserFactory(1 << 20, 25, self.clock, kind.takes_text),
                most_told=most_pending,
            ),
            verdict=Verdict(self.admission, policy),
            hardening=hardening_for(self.clock, self.pending, forwarding),
            frame_ancestors=["'self'"],
        )

    def connect(self) -> Connection:
        """Open a connection."""
        return connected_to(self.site)

    def request(
        self, target: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> Connection:
        """Send a request on a new connection, and return that."""
        connection = self.connect()
        connection.send(request_bytes(target, headers or {"Host": "gateway:6080"}, method))
        return connection

    def upgrade(self, target: str, **changes: str | None) -> Connection:
        """Send a WebSocket handshake with some headers changed, or left out."""
        headers = dict(HANDSHAKE)
        for name, value in changes.items():
            header = name.replace("_", "-")
            match = next((known for known in headers if known.lower() == header.lower()), header)
            headers.pop(match, None)
            if value is not None:
                headers[match] = value
        return self.request(target, headers)


def request_bytes(target: str, headers: dict[str, str], method: str = "GET") -> bytes:
    """Return a request on the wire."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def json_of(connection: Connection) -> dict[str, str]:
    """Return the JSON object that was answered."""
    _, headers, body = connection.answer()
    assert headers["content-type"] == "application/json"
    if headers.get("transfer-encoding") == "chunked":
        body = body.split(b"\r\n")[1]
    found: dict[str, str] = json.loads(body)
    return found
