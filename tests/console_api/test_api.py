"""The API's answers, as nova's clients see them."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from tests.console_api.harness import (
    ALICE,
    BARE,
    CONSOLE,
    NOW,
    OFF,
    OPEN_WEB,
    OTHER_TWIN,
    TWIN,
    WEB,
    ApiTestCase,
    console,
    token_in,
    unreachable,
)
from vncproxy.compute.interface import HostFault, ServerNotRunning
from vncproxy.errors import TokenUsed
from vncproxy.tokens.uses import TokenUses, Use


class DiscoveryTests(ApiTestCase):
    def test_versions(self) -> None:
        """Anybody is told which there are, and where."""
        (version,) = self.get("/", token=None)["versions"]
        self.assertEqual((version["min_version"], version["version"]), ("2.1", "2.104"))
        link = {"rel": "self", "href": "http://api.example:8774/v2.1/"}
        self.assertEqual(version["links"], [link])
        for path in ("/v2.1", "/v2.1/"):
            self.assertEqual(self.get(path, token=None)["version"], version)

    def test_behind_a_balancer(self) -> None:
        """One that ends TLS says so, and links follow it."""
        body = self.get("/v2.1/", token=None, X_Forwarded_Proto="https")
        self.assertEqual(body["version"]["links"][0]["href"], "https://api.example:8774/v2.1/")

    def test_one_host_and_one_scheme(self) -> None:
        """What can't be a host, or a scheme, is not put into links: it is refused."""
        for host in ("", "a@b", "a/x", "a, b", '"a', "a b", "[::1", "a:x", None):
            for path in ("/", "/v2.1/servers/web"):
                status, _, body = self.ask("GET", path, Host=host)
                self.assertEqual((status, body["code"]), (400, "malformed"), host)
        for scheme in ("http, https", "ftp", "https:"):
            self.assert_fault(
                *(400, "badRequest", "X-Forwarded-Proto", "GET", "/v2.1/servers/web"),
                X_Forwarded_Proto=scheme,
            )
        self.assertEqual(len(self.lines), 3)

    def test_microversion_headers(self) -> None:
        """Every answer names its version in both headers, and varies by them."""
        for version, used in (("2.6", "2.6"), ("latest", "2.104"), (None, "2.1")):
            status, headers, _ = self.ask("GET", "/v2.1/servers", version=version)
            self.assertEqual(status, 200)
            self.assertEqual(headers["openstack-api-version"], f"compute {used}")
            self.assertEqual(headers["x-openstack-nova-api-version"], used)
            vary = {name.strip().lower() for name in headers["vary"].split(",")}
            self.assertEqual(vary, {"openstack-api-version", "x-openstack-nova-api-version"})
            self.assertEqual(headers["cache-control"], "no-store")
            self.assertRegex(headers["x-compute-request-id"], "^req-")

    def test_versions_that_are_none(self) -> None:
        """400 without version headers; 406 with the one that was asked for."""
        status, headers, body = self.ask("GET", "/v2.1/servers", version="2.06")
        self.assertEqual((status, list(body)), (400, ["badRequest"]))
        self.assertNotIn("openstack-api-version", headers)
        status, headers, body = self.ask("GET", "/v2.1/servers", version="9.9")
        self.assertEqual((status, list(body)), (406, ["computeFault"]))
        self.assertEqual(headers["openstack-api-version"], "compute 9.9")

    def test_the_legacy_endpoint(self) -> None:
        """/v2 behaves as 2.1, whatever the headers say, and so does the action there."""
        _, headers, _ = self.ask("GET", "/v2/servers", version="2.6")
        self.assertEqual(headers["openstack-api-version"], "compute 2.1")
        action = {"os-getVNCConsole": {"type": "novnc"}}
        self.assertEqual(self.ask("POST", "/v2/servers/web/action", action, version="2.6")[0], 200)

    def test_a_project_in_the_path(self) -> None:
        """As clients with an older catalogue send it."""
        self.assertEqual(self.get(f"/v2.1/{'0a' * 16}/servers/web")["server"]["id"], WEB.id)
        self.assertEqual(self.get("/servers/web")["server"]["id"], WEB.id)

    def test_what_is_not_there(self) -> None:
        """404 in nova's form, and 405 with what is allowed."""
        for path in ("/v2.1/flavors", "/v2.1/servers/web/x", "/v3/", "/v2.1/%ff", "/x/y/z/../.."):
            self.assert_fault(404, "itemNotFound", "no such resource", "GET", path)
        for method, path in (
            ("POST", "/v2.1/servers"),
            ("DELETE", "/v2.1/servers/web"),
            ("PUT", "/v2.1/servers/web/remote-consoles"),
            ("PUT", "/v2.1/servers/web/action"),
            ("POST", "/v2.1/os-console-auth-tokens/x"),
        ):
            self.assert_fault(405, "badMethod", "", method, path)
        self.assert_fault(410, "computeFault", "remote-consoles", "GET", "/servers/web/consoles")


class ServersTests(ApiTestCase):
    def names(self, query: str = "", token: str = "root-token") -> list[str]:
        return [s["name"] for s in self.get(f"/v2.1/servers{query}", token=token)["servers"]]

    def test_lists(self) -> None:
        """Briefly with links, or in full with the state."""
        (web,) = self.get("/v2.1/servers?name=web")["servers"]
        self.assertEqual(sorted(web), ["id", "links", "name"])
        (web,) = self.get("/v2.1/servers/detail?name=web")["servers"]
        self.assertEqual((web["status"], web["OS-EXT-SRV-ATTR:host"]), ("ACTIVE", "host-a"))
        self.assertEqual(web["OS-EXT-STS:power_state"], 1)

    def test_filters(self) -> None:
        """By name, anchored or not, and by what else a driver knows."""
        for query, names in (
            ("?name=twin", ["twin", "twin"]),
            ("?name=WI", ["twin", "twin"]),
            ("?name=%5Elab", ["lab-1"]),
            ("?name=1%24", ["lab-1"]),
            ("?name=%5Eof%24", []),
            ("?name=.*", []),
            ("?status=paused", ["twin"]),
            ("?status=paused&name=web", []),
            (f"?uuid={WEB.id}", ["web"]),
            ("?host=host-a", ["twin", "web"]),
            ("?project_id=lab", ["lab-1"]),
            ("?deleted=true", []),
            ("?deleted=false&name=web&unknown=1", ["web"]),
        ):
            self.assertEqual(self.names(query), names, query)

    def test_unknown_parameters(self) -> None:
        """They are refused from the microversions on in which nova does so; others are not."""
        for path, since in (
            ("/v2.1/servers", 75),
            ("/v2.1/servers/detail", 75),
            ("/v2.1/servers/web", 102),
            ("/v2.1/servers/nobody", 102),
            ("/v2.1/servers/web/remote-consoles", 102),
        ):
            for minor in (since, 104):
                version = f"2.{minor}"
                for query in ("?unknown=1", "?limit=1&zzz=", "?metadata=1"):
                    self.clock.advance(1)  # for the rate
                    words = "Invalid input for query parameters"
                    self.assert_fault(
                        400, "badRequest", words, "GET", path + query, version=version
                    )
            self.assertEqual(self.driver.asked, [], path)  # nothing of it depends on the server
            before = self.ask("GET", f"{path}?unknown=1", version=f"2.{since - 1}")[0]
            self.assertEqual(before, 404 if "nobody" in path else 200, path)
            self.driver.asked.clear()
        for query in ("?name=web&limit=1", "?all_tenants=1&sort_key=uuid&tags=a", "?deleted=false"):
            self.get(f"/v2.1/servers{query}", version="2.104")

    def test_an_unknown_parameter_that_is_a_secret(self) -> None:
        """The log does not repeat it."""
        secret = "11111111-2222-4333-8444-555555555555"
        self.ask("GET", f"/v2.1/servers?{secret}=1", version="2.104")
        self.assertNotIn(secret, self.lines[-1])
        self.assertIn("Invalid input for query", self.lines[-1])

    def test_pages(self) -> None:
        """With a limit a list says where the next part begins, and the parts make the whole."""
        whole = self.names()
        parts, path = [], "/v2.1/servers?limit=3"
        while path:
            body = self.get(path)
            parts += [s["name"] for s in body["servers"]]
            links = body.get("servers_links", [])
            path = (
                urlsplit(links[0]["href"])._replace(scheme="", netloc="").geturl() if links else ""
            )
        self.assertEqual(parts, whole)
        for query in ("limit=-1", "limit=x", "marker=nobody", "limit=9999999999999"):
            self.assert_fault(400, "badRequest", "", "GET", f"/v2.1/servers?{query}")
        self.assertEqual(self.names("?limit=0"), whole)

    def test_whose_servers(self) -> None:
        """Those that the caller may open: by pattern, by id, by project; others don't exist."""
        self.assertEqual(self.names(token=ALICE), ["lab-1", "twin", "web"])
        self.assert_fault(404, "itemNotFound", OFF.id, "GET", f"/servers/{OFF.id}", token=ALICE)
        path = f"/servers/{OFF.id}/remote-consoles"
        self.assert_fault(404, "itemNotFound", "not be found", "POST", path, CONSOLE, token=ALICE)
        self.assertNotIn(
            "OS-EXT-SRV-ATTR:host", self.get(f"/servers/{WEB.id}", token=ALICE)["server"]
        )

    def test_two_of_one_name(self) -> None:
        """409 with both ids, for who may open both; the other is nobody's business."""
        for words in (TWIN.id, OTHER_TWIN.id):
            self.assert_fault(409, "conflictingRequest", words, "GET", "/servers/twin")
            path = "/servers/twin/remote-consoles"
            self.assert_fault(409, "conflictingRequest", words, "POST", path, CONSOLE)
        found = self.get("/servers/twin", token=ALICE)["server"]
        self.assertEqual(found["id"], OTHER_TWIN.id)

    def test_hosts_that_fail(self) -> None:
        """The list has what the others know, and says so; only operators see names."""
        self.driver.faults = (HostFault("host-c", "timed out"),)
        body = self.get("/v2.1/servers")
        self.assertEqual(len(body["servers"]), 7)
        hosts = [{"host": "host-c", "reason": "timed out"}]
        self.assertEqual(body["vncproxy"], {"unreachable": 1, "hosts": hosts})
        body = self.get("/v2.1/servers", token=ALICE)
        self.assertEqual(body["vncproxy"], {"unreachable": 1, "hosts": []})
        self.assertIn("host-c: timed out", self.lines[-1])


class RemoteConsoleTests(ApiTestCase):
    def open(self, *request: object, **more: object) -> dict[str, str]:
        status, _, body = self.ask(*request, **more)
        self.assertEqual(status, 200, body)
        found: dict[str, str] = body["remote_console"]
        return found

    def test_novnc(self) -> None:
        """The URL is nova's; its token opens the console where the driver says it is."""
        found = self.open(*OPEN_WEB)
        url = found.pop("url")
        self.assertEqual(found, {"protocol": "vnc", "type": "novnc"})
        self.assertEqual(url.split("?")[0], "http://gateway.example/vnc_lite.html")
        path = parse_qs(urlsplit(url).query)["path"][0]
        self.assertRegex(path, r"^novnc\?token=[0-9a-f-]{36}$")
        grant = self.table.find(token_in(url))
        self.assertEqual((grant.target, grant.console_type), ("10.0.0.5:5900", "novnc"))
        self.assertEqual((grant.instance_uuid, grant.expires), (WEB.id, NOW + 600))
        self.assertEqual(grant.access_url_base, "http://gateway.example/vnc_lite.html?path=novnc")
        self.assertEqual(grant.internal_access_path, "/connect")

    def test_the_other_kinds(self) -> None:
        """Their URLs, and for SPICE that speaks TLS only, that port."""
        for protocol, kind, begin, port in (
            ("spice", "spice-html5", "http://gateway.example:6082/spice_auto.html?token=", 5910),
            ("serial", "serial", "ws://gateway.example:6083/?token=", 5900),
        ):
            path = f"/v2.1/servers/{WEB.id}/remote_consoles"
            url = self.open("POST", path, console(protocol, kind), version="latest")["url"]
            self.assertEqual(url, begin + token_in(url).text)
            self.assertEqual(self.table.find(token_in(url)).port, port)

    def test_our_additions(self) -> None:
        """A shorter life; never a longer one than configured."""
        status, _, body = self.ask(*OPEN_WEB[:2], console("vnc", "novnc", ttl=60))
        self.assertEqual((status, body["remote_console"]["vncproxy"]), (200, {"expires": NOW + 60}))
        (grant,) = self.table.live()
        self.assertEqual(grant.expires, NOW + 60)
        self.table.revoke("")
        longer = console("vnc", "novnc", ttl=601)
        self.assert_fault(400, "badRequest", "[consoleauth] token_ttl", *OPEN_WEB[:2], longer)

    def test_single_use(self) -> None:
        """Its token opens the console once; one that was not asked so, as often as one likes."""
        uses = TokenUses(self.engine, lambda: NOW, every_token=False, resume_s=0)
        once = self.open(*OPEN_WEB[:2], console("vnc", "novnc", single_use=True))
        grant = self.table.find(token_in(once["url"]))
        self.assertIs(uses.use(grant, "192.0.2.9", None, "secret"), Use.FIRST)
        self.assertRaises(TokenUsed, uses.use, grant, "192.0.2.9", None, "another")
        often = self.open(*OPEN_WEB[:2], console("vnc", "novnc", single_use=False))
        grant = self.table.find(token_in(often["url"]))
        self.assertIs(uses.use(grant, "192.0.2.9", None, "secret"), Use.UNCOUNTED)

    def test_before_it_was_there(self) -> None:
        """Before 2.6 the resource does not exist, and from it on the actions don't."""
        self.assert_fault(404, "itemNotFound", "", *OPEN_WEB, version="2.5")
        action = {"os-getVNCConsole": {"type": "novnc"}}
        self.assert_fault(404, "itemNotFound", "", "POST", "/servers/web/action", action)

    def test_actions(self) -> None:
        """Those of 2.1 to 2.5, whose answers have no protocol."""
        for action, kind in (
            ("os-getVNCConsole", "novnc"),
            ("os-getSPICEConsole", "spice-html5"),
            ("os-getSerialConsole", "serial"),
        ):
            body = {action: {"type": kind}}
            status, _, answer = self.ask("POST", "/v2.1/servers/web/action", body, version="2.1")
            self.assertEqual((status, answer["console"]["type"]), (200, kind))
            self.table.find(token_in(answer["console"]["url"]))
            self.assertNotIn("protocol", answer["console"])

    def test_types_that_do_not_fit(self) -> None:
        """400 where type and protocol don't belong together or nobody has them; 501 for mks."""
        for protocol, kind, words in (
            ("vnc", "xvpvnc", "no console type xvpvnc"),
            ("vnc", "serial", "no console type serial"),
            ("serial", "novnc", "no console type novnc"),
            ("rdp", "rdp-html5", "not available"),
            ("spice", "spice-direct", "not available"),
        ):
            body = console(protocol, kind)
            self.assert_fault(400, "badRequest", words, *OPEN_WEB[:2], body, version="2.99")
        mks = console("mks", "webmks")
        self.assert_fault(501, "notImplemented", "mks", *OPEN_WEB[:2], mks, version="2.8")
        rdp = {"os-getRDPConsole": {"type": "rdp-html5"}}
        self.assert_fault(400, "badRequest", "", "POST", "/servers/web/action", rdp, version="2.1")

    def test_servers_without_one(self) -> None:
        """400 without such a device, 404 for nobody, 409 for one that is off, 503 for silence."""
        for server, status, key, words in (
            (BARE.id, 400, "badRequest", "It has none."),
            ("nobody", 404, "itemNotFound", "nobody"),
            (OFF.name, 409, "conflictingRequest", "not running"),
        ):
            path = f"/v2.1/servers/{server}/remote-consoles"
            self.assert_fault(status, key, words, "POST", path, CONSOLE)
        self.driver.error = unreachable("web")
        self.assert_fault(503, "serviceUnavailable", "Try again", *OPEN_WEB)

    def test_what_only_operators_learn(self) -> None:
        """A host's name is in the audit line, not in the answer."""
        self.driver.error = unreachable("web")
        _, _, body = self.ask(*OPEN_WEB)
        self.assertNotIn("host-b", str(body))
        self.assertIn("host-b: no answer in 5 s", self.lines[-1])

    def test_a_server_that_stops_meanwhile(self) -> None:
        """Between its look-up and its console's: 409, and no token."""
        self.driver.error = ServerNotRunning("Server web is not running.")
        self.assert_fault(409, "conflictingRequest", "not running", *OPEN_WEB)

    def test_a_driver_that_breaks(self) -> None:
        """500 with the request's name, and the reason only in the log."""
        self.driver.error = ZeroDivisionError("secret detail")
        self.assert_fault(500, "computeFault", "req-", *OPEN_WEB)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_client_that_leaves(self) -> None:
        """While the driver looks: nothing is stored, and nothing is logged as a fault."""
        self.driver.hangs = Deferred()
        connection = self.send(*OPEN_WEB)
        connection.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.table.live(), [])
        self.assertEqual(connection.value(), b"")


class KindsTests(ApiTestCase):
    def kinds(self, server: str, **more: str) -> list[str]:
        """Return the types of the consoles that the API says the server has."""
        body = self.get(f"/v2.1/servers/{server}/remote-consoles", **more)
        return [kind["type"] for kind in body["remote_consoles"]]

    def test_which_consoles_a_server_has(self) -> None:
        """Those that the driver finds, by the protocols under which they can be asked for."""
        body = self.get("/v2.1/servers/web/remote-consoles")
        self.assertEqual(body["remote_consoles"][0], {"protocol": "vnc", "type": "novnc"})
        self.assertEqual(self.kinds("web"), ["novnc", "spice-html5", "serial"])
        self.assertEqual(self.kinds("bare"), [])
        for kind in body["remote_consoles"]:
            self.ask("POST", "/v2.1/servers/web/remote-consoles", {"remote_console": kind})
            self.assertIn(": 200 in", self.lines[-1])

    def test_refusals(self) -> None:
        """A server that is off, one of others, a host that is away; and nova's older versions."""
        path = "/v2.1/servers/{}/remote-consoles"
        self.assert_fault(409, "conflictingRequest", "not running", "GET", path.format("off"))
        self.assert_fault(404, "itemNotFound", "", "GET", path.format("off"), token=ALICE)
        self.assert_fault(404, "itemNotFound", "", "GET", path.format("web"), version="2.5")
        self.driver.error = unreachable("web")
        self.assert_fault(503, "serviceUnavailable", "", "GET", path.format("web"))
