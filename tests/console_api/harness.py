"""The API in memory: raw requests in, raw answers out; a driver of a few servers, real tables."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import InlineThreadPool, ThreadClock
from tests.web.harness import Connection, connected_to, hardening_for
from vncproxy.compute.interface import (
    ComputeError,
    Console,
    HostFault,
    HostUnreachable,
    Listing,
    NoSuchConsole,
    Server,
    ServerNotRunning,
    Status,
)
from vncproxy.compute.lookup import one_each, the_one
from vncproxy.console_api.api import ConsoleApi
from vncproxy.console_api.callers import Caller, Presented
from vncproxy.console_api.consoles import Consoles
from vncproxy.console_api.doors import Doors
from vncproxy.console_api.look_ups import TokenLookUps
from vncproxy.console_api.lookup import Lookup
from vncproxy.console_api.site import ApiSite
from vncproxy.limits.failures import FailedTokens
from vncproxy.limits.rate import TokenBuckets
from vncproxy.model import Token
from vncproxy.tokens.issue import TokenIssuer
from vncproxy.tokens.sql import SqlTokenStore
from vncproxy.tokens.table import TokenTable

NOW = 1_800_000_000
BASE_URLS = {
    "novnc": "http://gateway.example/vnc_lite.html?path=novnc",
    "spice-html5": "http://gateway.example:6082/spice_auto.html",
    "serial": "ws://gateway.example:6083/",
}
IDS = [f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}" for digit in "1234567"]
WEB, TWIN, OTHER_TWIN, OFF, BARE, LAB, ODD = (
    Server(IDS[0], "web", Status.ACTIVE, "host-a"),
    Server(IDS[1], "twin", Status.ACTIVE, "host-a"),
    Server(IDS[2], "twin", Status.PAUSED, "host-b"),
    Server(IDS[3], "off", Status.SHUTOFF, "host-b"),
    Server(IDS[4], "bare", Status.ACTIVE, "host-b"),
    Server(IDS[5], "lab-1", Status.ACTIVE, "host-b", project="lab"),
    Server(IDS[6], "../<b>' OR 1=1 --", Status.ACTIVE, "host-b"),
)
ROOT, ALICE = "root-token", "alice-token"
_CALLERS = {
    ROOT: Caller("root", admin=True),
    ALICE: Caller("alice", servers=("w*", OTHER_TWIN.id), projects=("lab",)),
}


CONSOLE = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
OPEN_WEB = ("POST", "/v2.1/servers/web/remote-consoles", CONSOLE)


def console(protocol: str, console_type: str, **additions: object) -> dict[str, object]:
    more = {"vncproxy": additions} if additions else {}
    return {"remote_console": {"protocol": protocol, "type": console_type, **more}}


def token_in(url: str) -> Token:
    match = re.search(r"token(?:=|%3D)(.*)$", url)
    assert match is not None
    return Token(match[1])


class FakeDriver:
    """A driver of servers in memory.

    Attributes:
        servers: that there are.
        away: hosts that do not answer.
        faults: of other hosts.
        error: what the next look-up of a console raises, or None.
        hangs: what that waits for, or None.
        asked: the methods that were called.
    """

    def __init__(self) -> None:
        self.servers = [WEB, TWIN, OTHER_TWIN, OFF, BARE, LAB, ODD]
        self.faults: tuple[HostFault, ...] = ()
        self.away: set[str] = set()
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.hangs: Deferred[None] | None = None

    async def list_servers(self) -> Listing:
        """Return all."""
        self.asked.append("list_servers")
        return self._of(self.servers)

    async def find_servers(self, name_or_id: str) -> Listing:
        """Return those of a name or id."""
        self.asked.append("find_servers")
        return self._of([s for s in self.servers if name_or_id in (s.id, s.name)])

    async def find_server(self, name_or_id: str) -> Server:
        """Return one."""
        return the_one(name_or_id, await self.find_servers(name_or_id))

    async def find_console(self, server: Server, console_type: str) -> Console:
        """Return where a console is."""
        self.asked.append("find_console")
        if server.host in self.away:
            raise HostUnreachable(server.name, [HostFault(server.host, "no answer in 5 s")])
        if self.hangs is not None:
            await self.hangs
        if self.error is not None:
            raise self.error
        if server.status is Status.SHUTOFF:
            raise ServerNotRunning(f"Server {server.name} is not running.")
        if server is BARE:
            raise NoSuchConsole("It has none.", "host-b: no graphics device")
        if console_type == "spice-html5":
            return Console(console_type, "10.0.0.5", 0, tls_port=5910)
        return Console(console_type, "10.0.0.5", 5900, path="/connect")

    def stop(self) -> None:
        """Do nothing."""

    def _of(self, servers: list[Server]) -> Listing:
        here = one_each(server for server in servers if server.host not in self.away)
        away = [HostFault(host, "no answer in 5 s") for host in sorted(self.away)]
        return Listing(tuple(here), (*self.faults, *away))


class KnownTokens:
    """An authenticator of two tokens."""

    async def caller_of(self, presented: Presented) -> Caller | None:
        """Return whose it is."""
        return _CALLERS.get(presented.token or "")


class FakeKeystone:
    """An authenticator elsewhere, which answers at once, or when the test says so.

    Attributes:
        known: the callers, by their tokens.
        asked: the tokens that it was shown.
        pending: look-ups to be answered, where the test answers them; else None.
    """

    def __init__(self) -> None:
        self.known: dict[str, Caller] = {}
        self.asked: list[str] = []
        self.pending: list[Deferred[None]] | None = None

    async def caller_of(self, presented: Presented) -> Caller | None:
        """Return whose it is."""
        assert presented.token is not None
        self.asked.append(presented.token)
        if self.pending is not None:
            self.pending.append(Deferred())
            await self.pending[-1]
        return self.known.get(presented.token)


class ApiTestCase(SynchronousTestCase):
    """Sends requests to an API in memory, and reads the answers and the audit lines."""

    def setUp(self) -> None:
        """Build it."""
        self.clock = ThreadClock()
        self.driver = FakeDriver()
        self.engine = engine = create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
        self.addCleanup(engine.dispose)
        self.table = TokenTable(engine, lambda: NOW)
        self.table.create()
        self.threads = InlineThreadPool()
        store = SqlTokenStore(self.table, cast(Any, self.clock), self.threads, 5.0)
        issuer = TokenIssuer(self.table, lambda: NOW, BASE_URLS)
        self.keystone = FakeKeystone()
        failed = FailedTokens(3, self.clock.seconds)
        look_ups = TokenLookUps([self.keystone], failed, self.clock, 10)
        api = ConsoleApi(
            Doors([KnownTokens()], look_ups, 'Bearer realm="vncproxy"'),
            TokenBuckets(10, 30, self.clock.seconds),
            Lookup(self.driver),
            Consoles(self.driver, issuer, store, list(BASE_URLS), 600),
            store,
            self.clock,
        )
        self.site = ApiSite(api, hardening_for(self.clock))
        self.lines: list[str] = []
        observer = cast(ILogObserver, self._keep_line)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _keep_line(self, event: LogEvent) -> None:
        if "request_id" in event and event.get("log_format"):
            self.lines.append(event["log_format"].format(**event))

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        token: str | None = ROOT,
        version: str | None = "2.6",
        client: str = "192.0.2.1",
        **headers: str | None,
    ) -> Connection:
        """Send a request on a connection of its own, and return that."""
        named: dict[str, str | None] = {
            "Host": "api.example:8774",
            "X-Auth-Token": token,
            "OpenStack-API-Version": f"compute {version}" if version else None,
        }
        data = body if isinstance(body, bytes) else b""
        if body is not None:
            data = data or json.dumps(body).encode()
            named |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in named.items() if value is not None]
        connection = connected_to(self.site, client)
        connection.send("\r\n".join([*lines, "", ""]).encode() + data)
        self.clock.advance(0)
        return connection

    def ask(self, *request: Any, **more: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Send a request; return the answer's status, headers and JSON."""
        status, headers, body = self.send(*request, **more).answer()
        return status, headers, json.loads(body)

    def get(self, path: str, **more: Any) -> dict[str, Any]:
        """Return the JSON of a GET that succeeds."""
        status, _, body = self.ask("GET", path, **more)
        self.assertEqual(status, 200, body)
        return body

    def assert_fault(self, status: int, key: str, words: str, *request: Any, **more: Any) -> None:
        """Check that a request is refused in nova's form, and stored nothing."""
        answered, _, body = self.ask(*request, **more)
        self.assertEqual(answered, status, body)
        self.assertEqual((list(body), body[key]["code"]), ([key], status))
        self.assertIn(words, body[key]["message"])
        self.assertEqual(self.table.live(), [])


def unreachable(server: str) -> ComputeError:
    """Return what a driver raises when a host hangs."""
    return HostUnreachable(server, [HostFault("host-b", "no answer in 5 s")])
