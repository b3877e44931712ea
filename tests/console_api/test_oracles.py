"""Nobody can tell another's server from one that does not exist, whatever goes on meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tests.console_api.harness import ALICE, CONSOLE, ROOT, WEB, ApiTestCase, FakeDriver
from vncproxy.compute.interface import (
    HostFault,
    NoSuchConsole,
    Server,
    ServerNotFound,
    ServerNotRunning,
    Status,
)

# The names are as long as each other: what is compared is all of the answer.
_ANOTHERS_NAME, _NOBODYS_NAME = "db-master", "db-mirror"
_ANOTHERS_ID = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
_NOBODYS_ID = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
_ANOTHERS = Server(_ANOTHERS_ID, _ANOTHERS_NAME, Status.ACTIVE, "host-a", project="other")
_TWO = (
    Server("cccccccc-cccc-4ccc-8ccc-cccccccccccc", _ANOTHERS_NAME, Status.ACTIVE, "host-b"),
    Server("dddddddd-dddd-4ddd-8ddd-dddddddddddd", _ANOTHERS_NAME, Status.PAUSED, "host-b"),
)
_PAIRS = (
    (_ANOTHERS_NAME, _NOBODYS_NAME),
    (_ANOTHERS_ID, _NOBODYS_ID),
    (_ANOTHERS_ID.upper(), _NOBODYS_ID.upper()),
)
_BODIES: tuple[object, ...] = (
    CONSOLE,
    {"remote_console": {"protocol": "spice", "type": "spice-html5"}},
    {"remote_console": {"protocol": "vnc", "type": "serial"}},
    {"remote_console": {"protocol": "mks", "type": "webmks"}},
    {"remote_console": {"protocol": "vnc", "type": "novnc", "vncproxy": {"ttl": 99999}}},
    {"remote_console": {"protocol": "nonsense", "type": "novnc"}},
    {"os-getVNCConsole": {"type": "novnc"}},
    {"os-getVNCConsole": {"type": "xvpvnc"}},
    {"reboot": {"type": "HARD"}},
    b"{no JSON",
    None,
)


def _states() -> Iterator[tuple[str, Callable[[FakeDriver], None]]]:
    def away(*hosts: str) -> Callable[[FakeDriver], None]:
        return lambda driver: driver.away.update(hosts)

    def replaced(*servers: Server) -> Callable[[FakeDriver], None]:
        return lambda driver: setattr(driver, "servers", [WEB, *servers])

    def raising(error: Exception) -> Callable[[FakeDriver], None]:
        return lambda driver: setattr(driver, "error", error)

    yield "all hosts answer", away()
    yield "its host is away", away("host-a")
    yield "another host is away", away("host-b")
    yield "all hosts are away", away("host-a", "host-b")
    yield "a third host fails", lambda d: setattr(d, "faults", (HostFault("host-c", "down"),))
    yield "the name is ambiguous", replaced(_ANOTHERS, *_TWO)
    off = Server(_ANOTHERS_ID, _ANOTHERS_NAME, Status.SHUTOFF, "host-a", project="other")
    yield "it is off", replaced(off)
    yield (
        "it is on two hosts",
        replaced(
            _ANOTHERS,
            Server(_ANOTHERS_ID, _ANOTHERS_NAME, Status.ACTIVE, "host-b", project="other"),
        ),
    )
    yield "it stops meanwhile", raising(ServerNotRunning("It is not running."))
    yield "it vanishes meanwhile", raising(ServerNotFound("It could not be found."))
    yield "it has no such console", raising(NoSuchConsole("It has none."))


def _requests(server: str) -> Iterator[tuple[str, str, object]]:
    at = f"/v2.1/servers/{server}"
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        yield method, at, None
    for body in _BODIES:
        yield "POST", f"{at}/remote-consoles", body
        yield "POST", f"{at}/action", body
    for method in ("GET", "PUT"):
        for last in ("remote-consoles", "action", "consoles", "nonsense"):
            yield method, f"{at}/{last}", None
    yield "GET", f"/v2.1/0a0a/servers/{server}", None
    for path in ("/v2.1/servers", "/v2.1/servers/detail"):
        for name in ("name", "uuid", "marker", "host", "project_id", "nonsense"):
            yield "GET", f"{path}?{name}={server}", None
        yield "GET", f"{path}?marker={server}&limit=1", None


class OracleTests(ApiTestCase):
    def answer(self, request: tuple[str, str, object], version: str, asked: str) -> object:
        """Return all of the answer, and what the driver was asked for it, without the names."""
        self.driver.asked.clear()
        connection = self.send(*request, token=ALICE, version=version)
        self.clock.advance(1)  # for the rate
        whole = connection.value().decode()
        whole = re.sub(r"req-[0-9a-f-]{36}", "(request)", whole)
        whole = re.sub(r"(?i)date: [^\r]*", "(date)", whole).replace(asked, "(asked)")
        return whole, list(self.driver.asked)

    def test_anothers_server_and_none(self) -> None:
        """Are one, by every route and in every state: all of the answer, and all that it took."""
        seen = set()
        for state, bring_about in _states():
            self.driver.servers = [WEB, _ANOTHERS]
            self.driver.away, self.driver.faults, self.driver.error = set(), (), None
            bring_about(self.driver)
            for version in ("2.1", "2.6", "2.99"):
                for anothers, nobodys in _PAIRS:
                    pairs = zip(_requests(anothers), _requests(nobodys), strict=True)
                    for request, other in pairs:
                        expected = self.answer(other, version, nobodys)
                        found = self.answer(request, version, anothers)
                        self.assertEqual(found, expected, (state, version, request))
                        seen.add(str(found)[2:14])
        statuses = {line.split()[1] for line in seen}
        self.assertLessEqual({"200", "400", "404", "405", "410", "503"}, statuses)

    def test_ones_own_server_meanwhile(self) -> None:
        """Is found while others' hosts are away, and can't be looked up while its own is."""
        self.driver.servers = [WEB, _ANOTHERS]
        path = f"/v2.1/servers/{WEB.id}"
        self.driver.away = {"host-b"}
        self.assertEqual(self.ask("GET", path, token=ALICE)[0], 200)
        self.driver.away = {"host-a"}
        self.assertEqual(self.ask("GET", path, token=ALICE)[0], 503)
        self.assertEqual(self.ask("GET", path, token=ROOT)[0], 503)

    def test_one_of_ones_own_of_several(self) -> None:
        """Is not ambiguous because others have the name, nor is more asked for it."""
        own = Server("eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee", "twin", Status.ACTIVE, "host-a", "lab")
        self.driver.servers = [own, Server(_ANOTHERS_ID, "twin", Status.ACTIVE, "host-b")]
        self.assertEqual(self.get("/v2.1/servers/twin", token=ALICE)["server"]["id"], own.id)
        self.assertEqual(self.driver.asked, ["find_servers"])
        self.assertEqual(self.ask("GET", "/v2.1/servers/twin")[0], 409)

    def test_hosts_are_for_administrators(self) -> None:
        """Others can't find out by a filter what they are not shown."""
        for host in ("host-a", "host-b", "nonsense"):
            listed = self.get(f"/v2.1/servers?host={host}&name=web", token=ALICE)["servers"]
            self.assertEqual([server["id"] for server in listed], [WEB.id], host)
        self.assertEqual(self.get("/v2.1/servers?host=host-b&name=web")["servers"], [])

    def test_tokens_are_for_administrators(self) -> None:
        """Others hear the same of every token."""
        _, _, body = self.ask("POST", "/v2.1/servers/web/remote-consoles", CONSOLE)
        token = body["remote_console"]["url"].rpartition("%3D")[2].rpartition("=")[2]
        for version in ("2.1", "2.31", "2.99"):
            for query in ("", "?a=b"):
                real, unreal = (
                    self.answer(
                        ("GET", f"/v2.1/os-console-auth-tokens/{asked}{query}", None),
                        version,
                        asked,
                    )
                    for asked in (token, _NOBODYS_ID)
                )
                self.assertEqual(real, unreal)
                self.assertIn("403", str(real))
