"""A console by name: OpenStack's own client and SDK, and a browser on what they print."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.certificates import issue
from tests.e2e.chromium import (
    canvas_picture,
    open_page,
    save_screenshot,
    wait_for_state,
    wait_until,
)
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.libvirt_daemon import LibvirtDaemon
from tests.e2e.openstack import Keystone, openstack, openstack_fault, sdk
from tests.e2e.programs import (
    Gateway,
    XvncServer,
    becomes_true,
    cannot_test,
    free_port,
    novnc_directory,
)

_COLOURS = {"web": "#2060a0", "lab-1": "#a03060"}
_WEB = "11111111-1111-4111-8111-111111111111"
_TWINS = ("22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333")
_ASK = """
import json, openstack, sys

log_in = {"auth_type": "admin_token", "endpoint": sys.argv[1], "token": sys.argv[2]}
cloud = openstack.connect(**log_in)
older = openstack.connect(**log_in, compute_default_microversion="2.1")
compute, found = cloud.compute, {}
found["names"] = [server.name for server in compute.servers()]
found["brief"] = [server.name for server in compute.servers(details=False, name="^web")]
found["pages"] = [server.name for server in compute.servers(limit=2)]
web = compute.find_server("web", ignore_missing=False)
found["web"] = [web.id, web.name, web.status, web.compute_host]
found["nobody"] = compute.find_server("nobody", ignore_missing=True)
found["console"] = compute.create_console(web, console_type="novnc")
found["older"] = older.compute.create_console(web, console_type="novnc")
found["wrong"] = {}
for what, call in {
    "twins": lambda: compute.find_server("twin", ignore_missing=False),
    "nobody": lambda: compute.get_server("nobody"),
    "off": lambda: compute.create_console("off", console_type="novnc"),
    "rdp": lambda: compute.create_console(web, console_type="rdp-html5"),
    "mks": lambda: compute.create_console(web, console_type="webmks"),
}.items():
    try:
        found["wrong"][what] = repr(call())
    except openstack.exceptions.HttpException as error:
        found["wrong"][what] = [error.status_code, error.details]
print(json.dumps(found))
"""


def _port_of_a_server() -> int:
    """Return a free port that the system gives to no client's connection meanwhile."""
    while True:
        port = random.randint(20000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class ConsoleApiTestCase(SynchronousTestCase):
    """A gateway with an inventory of some servers, two of which have screens of one colour."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vncproxy-test-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.screens = {name: XvncServer() for name in _COLOURS}
        for name, colour in _COLOURS.items():
            self.addCleanup(self.screens[name].stop)
            self.screens[name].run("xsetroot", "-solid", colour)
        self.api_port = _port_of_a_server()
        self.url = f"http://127.0.0.1:{self.api_port}"

    def start(self, auth: str, project: str = "lab", **options: object) -> Gateway:
        """Start a gateway whose API lets callers in by these methods; it ends with the test."""
        self.inventory = self.directory / "servers.yaml"
        self.write_inventory(project)
        self.callers = self.directory / "callers.conf"
        self.callers.unlink(missing_ok=True)
        settings = {
            "compute_driver": "inventory",
            "inventory_file": self.inventory,
            "api_callers_file": self.callers,
            "api_auth": auth,
            "api_listen": f"tcp:{self.api_port}:interface=127.0.0.1",
            **options,
        }
        keystone = settings.pop("keystone", "")
        (self.directory / "more.conf").write_text(str(keystone))
        if auth != "none" and not keystone:
            self.callers.write_text("[nobody]\nadmin = no\ncertificate = CN=nobody\n")
        gateway = Gateway(settings, ("--config-file", str(self.directory / "more.conf")))
        self.addCleanup(gateway.stop)
        gateway.program.wait_for(f"listening on tcp:{self.api_port}")
        return gateway

    def write_inventory(self, project: str = "lab", status: str = "active") -> None:
        consoles = {name: screen.port for name, screen in self.screens.items()}
        self.inventory.write_text(
            f"servers:\n- {{name: web, id: {_WEB}, host: rack 1, status: {status}, "
            f"consoles: {{novnc: '127.0.0.1:{consoles['web']}'}}}}\n"
            f"- {{name: lab-1, project: {project}, "
            f"consoles: {{novnc: '127.0.0.1:{consoles['lab-1']}'}}}}\n"
            + "".join(f"- {{name: twin, id: {twin}}}\n" for twin in _TWINS)
            + "- {name: 'off', status: shutoff, consoles: {novnc: '127.0.0.1:1'}}\n"
        )

    def caller(self, gateway: Gateway, *arguments: str) -> str:
        """Let somebody in; return their token."""
        done = gateway.command("api-token", "create", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def assert_shows(self, url: str, name: str) -> None:
        """Check that a browser sees the server's screen at this URL."""
        with open_page() as page:
            page.goto(url)
            wait_for_state(page, "connected")
            colour = tuple(bytes.fromhex(_COLOURS[name][1:]))
            wait_until(page, "document.querySelector('canvas').width === 800")
            self.assertEqual(canvas_picture(page).getpixel((400, 300)), colour)


class OpenStackClientTests(ConsoleApiTestCase):
    def test_console_url_show(self) -> None:
        """By name and by id; a browser on the URL shows that server's screen."""
        gateway = self.start("token")
        token = self.caller(gateway, "root", "--admin")
        log_in = ("--os-auth-type=admin_token", f"--os-endpoint={self.url}/v2.1", "--os-token")
        for server, name in (("lab-1", "lab-1"), (_WEB, "web")):
            shown = openstack(
                *log_in, token, *("console", "url", "show", "--novnc", server), "-f", "json"
            )
            console = json.loads(shown)
            self.assertEqual((console["protocol"], console["type"]), ("vnc", "novnc"))
            self.assert_shows(console["url"], name)
        said = openstack_fault(*log_in, token, "console", "url", "show", "twin")
        self.assertRegex(said, f"409: .*{_TWINS[0]}, {_TWINS[1]}")
        self.assertNotIn(token, gateway.log)

    def test_the_sdk(self) -> None:
        """Lists, pages, look-ups, both ways to a console, and each refusal as an exception."""
        gateway = self.start("token")
        token = self.caller(gateway, "root", "--admin")
        found = sdk(_ASK, f"{self.url}/v2.1", token)
        self.assertEqual(found["names"], ["lab-1", "off", "twin", "twin", "web"])
        self.assertEqual(found["pages"], found["names"])
        self.assertEqual(found["brief"], ["web"])
        self.assertEqual(found["web"], [_WEB, "web", "ACTIVE", "rack 1"])
        self.assertIsNone(found["nobody"])
        for console in (found["console"], found["older"]):
            self.assertEqual(console["type"], "novnc")
            with ScriptedBrowser(console["url"]) as browser:
                self.assertEqual(browser.first_picture()[:2], (800, 600))
        statuses = {what: fault[0] for what, fault in found["wrong"].items()}
        expected = {"twins": 409, "nobody": 404, "off": 404, "rdp": 400, "mks": 501}
        self.assertEqual(statuses, {**expected, "off": 409})

    def test_other_ways_to_say_who(self) -> None:
        """HTTP Basic with the token as password; no token at all, where none is asked for."""
        gateway = self.start("token")
        token = self.caller(gateway, "kim", "--servers", "web")
        endpoint = f"--os-endpoint={self.url}/v2.1"
        show = ("console", "url", "show", "-f", "value", "-c", "url")
        basic = ("--os-auth-type=http_basic", "--os-username=kim", f"--os-password={token}")
        self.assertIn("token%3D", openstack(*basic, endpoint, *show, "web"))
        gateway.stop()
        self.start("none")
        none = ("--os-auth-type=none", f"--os-endpoint={self.url}/v2.1")
        self.assertIn("token%3D", openstack(*none, *show, "web"))

    def test_certificates(self) -> None:
        """A client's certificate says who it is; another CA's, or none, does not."""
        authority = issue("CA", ca=True)
        files = {name: self.directory / f"{name}.pem" for name in ("ca", "kim", "eve", "api")}
        authority.write(files["ca"], self.directory / "ca.key")
        issue("127.0.0.1", issuer=authority).write(files["api"], files["api"])
        issue("kim", issuer=authority).write(files["kim"], files["kim"])
        issue("eve", issuer=authority).write(files["eve"], files["eve"])
        gateway = self.start("certificate", api_cert=files["api"], api_client_ca=files["ca"])
        self.callers.write_text("[kim]\ncertificate = CN=kim\nservers = web\n")
        url = f"https://127.0.0.1:{self.api_port}/v2.1"
        common = ("--os-auth-type=none", f"--os-endpoint={url}", f"--os-cacert={files['ca']}")
        show = ("console", "url", "show", "-f", "value", "-c", "url", "web")
        self.assertIn("token%3D", openstack(*common, f"--os-cert={files['kim']}", *show))
        self.assertIn("401", openstack_fault(*common, f"--os-cert={files['eve']}", *show))
        gateway.program.wait_for(r"req-\S+ kim at 127\.0\.0\.1: POST")
        stranger = self.directory / "stranger.pem"
        issue("kim").write(stranger, stranger)
        context = ssl.create_default_context(cafile=str(files["ca"]))
        context.load_cert_chain(stranger)
        with self.assertRaises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
            urllib.request.urlopen(f"{url}/servers", context=context).read()

    def test_a_server_that_stops(self) -> None:
        """Between the making of the link and its use: the user is told so, in noVNC."""
        gateway = self.start("token")
        token = self.caller(gateway, "root", "--admin")
        body = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
        url = self.post("web", body, token)["remote_console"]["url"]
        self.write_inventory(status="shutoff")
        with ScriptedBrowser(url) as browser:
            self.assertIn("not running", browser.read_refusal())

    def post(self, server: str, body: object, token: str) -> Any:  # noqa: ANN401  JSON
        request = urllib.request.Request(
            f"{self.url}/v2.1/servers/{server}/remote-consoles",
            json.dumps(body).encode(),
            {
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
                "OpenStack-API-Version": "compute 2.6",
            },
        )
        return json.load(urllib.request.urlopen(request))


class LibvirtTests(SynchronousTestCase):
    """What the README promises of a machine with libvirt, with the README's own configuration."""

    def start(self, libvirt: LibvirtDaemon) -> Gateway:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        self.api_port = _port_of_a_server()
        text = (Path(__file__).parents[2] / "README.md").read_text()
        block = text.partition("## A console by name")[2].partition("\n\n    ")[2]
        lines = block.partition("\n\n")[0].replace("\n    ", "\n")
        self.assertLessEqual(len(lines.splitlines()), 10)
        for option, value in (
            ("web", novnc_directory()),
            ("state_path", directory),
            ("libvirt_uris", libvirt.uri),
            ("api_listen", f"tcp:{self.api_port}:interface=127.0.0.1"),
        ):
            lines, count = re.subn(rf"(?m)^{option} = .*$", f"{option} = {value}", lines)
            self.assertEqual(count, 1, option)
        config = directory / "readme.conf"
        config.write_text(f"{lines}\ncompute_timeout = 2\n")
        command = [sys.executable, "-m", "vncproxy.cli", f"--config-file={config}"]
        command += ["api-token", "create", "you", "--admin"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        self.token = done.stdout.strip()
        gateway = Gateway(flags=("--config-file", str(config)))
        self.addCleanup(gateway.stop)
        gateway.program.wait_for(f"listening on tcp:{self.api_port}")
        return gateway

    def test_a_machine_of_libvirts(self) -> None:
        """`openstack console url show` gives a URL that opens its screen; a host that hangs is
        said to, within the time-out.
        """
        libvirt = LibvirtDaemon()
        self.addCleanup(libvirt.stop)
        libvirt.run("web", _WEB, "<graphics type='vnc' autoport='yes' listen='127.0.0.1'/>")
        self.start(libvirt)
        url = f"http://127.0.0.1:{self.api_port}/v2.1"
        shown = openstack(
            *("--os-auth-type=admin_token", f"--os-token={self.token}", f"--os-endpoint={url}"),
            *("console", "url", "show", "--novnc", "web", "-f", "value", "-c", "url"),
        )
        with open_page() as page:
            page.goto(shown)
            wait_for_state(page, "connected")
            # SeaBIOS's words, in light grey on black
            self.assertTrue(
                becomes_true(lambda: len(canvas_picture(page).getcolors(1 << 20) or []) > 1)
            )
        libvirt.freeze()
        request = urllib.request.Request(f"{url}/servers/web", headers={"X-Auth-Token": self.token})
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        fault = json.load(caught.exception)["serviceUnavailable"]
        self.assertEqual((caught.exception.code, fault["code"]), (503, 503))
        self.assertIn("can't be looked up now", fault["message"])


class KeystoneTests(ConsoleApiTestCase):
    def test_members_of_a_project(self) -> None:
        """A real Keystone says who asks: they see their project, and open its consoles."""
        keystone = Keystone(self.directory / "keystone", f"{self.url}/v2.1")
        self.addCleanup(keystone.stop)
        gateway = self.start("keystone", keystone.project, keystone=keystone.authtoken)
        member = keystone.environment("member")
        listed = json.loads(openstack("server", "list", "-n", "-f", "json", environment=member))
        self.assertEqual([server["Name"] for server in listed], ["lab-1"])
        show = ("console", "url", "show", "-f", "value", "-c", "url")
        self.assert_shows(openstack(*show, "lab-1", environment=member), "lab-1")
        reader = keystone.environment("reader")
        self.assertIn("403", openstack_fault(*show, "lab-1", environment=reader))
        gateway.program.wait_for(r"req-\S+ member \([0-9a-f]{32}\) at 127\.0\.0\.1: POST")
        self.assertNotIn("gAAAA", gateway.log)  # how Keystone's tokens begin

        request = urllib.request.Request(f"{self.url}/servers", headers={"X-Auth-Token": "guess"})
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        self.assertEqual(caught.exception.code, 401)
        self.assertIn(keystone.url, caught.exception.headers["WWW-Authenticate"])
        keystone.stop()
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        self.assertEqual(caught.exception.code, 503)


class PageTests(ConsoleApiTestCase):
    def test_sign_in_and_open(self) -> None:
        """A token opens the list; a button opens a screen; the token is in no URL and no storage
        that outlives the tab.
        """
        gateway = self.start("token")
        token = self.caller(gateway, "kim", "--servers", "*")
        with open_page() as page:
            page.goto(self.url)
            page.fill("#token", "wrong")
            page.click("#sign-in button")
            page.wait_for_selector("text=This token is not known here.")
            page.fill("#token", token)
            page.click("#sign-in button")
            page.wait_for_selector("#servers li >> nth=4")
            for scheme in ("dark", "light"):
                page.emulate_media(color_scheme=scheme)
                save_screenshot(page, f"servers-{scheme}.png")
            for button in (".open", ".choose"):
                self.assertTrue(page.is_disabled(f"li[data-status=SHUTOFF] {button}"))
            page.fill("#filter", "twin")
            self.assertEqual(page.locator("#servers li").count(), 2)
            page.click("#servers li >> nth=0 >> .open")
            page.wait_for_selector("text=has no console of type")
            page.fill("#filter", "lab")
            with page.context.expect_page() as opened:
                page.click("#servers .open")
            console = opened.value
            wait_for_state(console, "connected")
            self.assertEqual(console.title(), "lab-1")
            self.assertEqual(console.inner_text("#name"), "lab-1")
            self.assertIsNone(console.evaluate("window.opener"))
            self.assertEqual(page.url, f"{self.url}/")
            self.assertEqual(page.evaluate("localStorage.length"), 0)
            self.assertEqual(page.evaluate("document.cookie"), "")
            page.click("#sign-out")
            page.wait_for_selector("#sign-in")
            self.assertEqual(page.evaluate("sessionStorage.length"), 0)
            page.set_viewport_size({"width": 390, "height": 700})
            self.assertTrue(page.evaluate("document.body.scrollWidth <= window.innerWidth"))
        self.assertNotIn(token, gateway.log)

    def test_a_server_with_several_consoles(self) -> None:
        """Beside the button that opens the first one there is another, which shows them all."""
        xterm = os.environ.get("VNCPROXY_XTERM", "") or cannot_test("xterm.js is not there")
        serial_port = free_port()
        line = FakeTarget(fake_targets.silent)
        self.addCleanup(line.stop)
        listen = f"tcp:{serial_port}:interface=127.0.0.1"
        gateway = self.start("token", consoles="novnc, serial", listen_serial=listen, xterm=xterm)
        config = self.directory / "more.conf"
        config.write_text(f"[serial_console]\nbase_url = http://127.0.0.1:{serial_port}/\n")
        gateway.program.stop()
        gateway.start()
        screen = self.screens["web"].port
        self.inventory.write_text(
            "servers:\n- name: both\n  consoles:\n"
            f"    novnc: 127.0.0.1:{screen}\n    serial: 127.0.0.1:{line.port}\n"
            f"- name: one\n  consoles: {{novnc: '127.0.0.1:{screen}'}}\n- name: none\n"
        )
        token = self.caller(gateway, "kim", "--servers", "*")
        with open_page() as page:
            page.goto(self.url)
            page.fill("#token", token)
            page.click("#sign-in button")
            for name, shown in (
                ("both", ["Screen (VNC)", "Serial console"]),
                ("one", ["Screen (VNC)"]),
                ("none", []),
            ):
                page.click(f"[aria-label='Choose a console of {name}']")
                row = page.locator("#servers li", has_text=name)
                if not shown:
                    page.wait_for_selector("text=has no console that can be opened here")
                    continue
                row.locator(".consoles button").first.wait_for()
                self.assertEqual(row.locator(".consoles button").all_inner_texts(), shown)
            save_screenshot(page, "servers-choice.png")
            for words in ("Screen (VNC)", "Serial console"):
                with page.context.expect_page() as opened:
                    page.locator("#servers li", has_text="both").get_by_text(words).click()
                wait_for_state(opened.value, "connected")
            self.assertIn(f":{serial_port}/", opened.value.url)
            page.click("[aria-label='Choose a console of both']")
            self.assertEqual(page.locator(".consoles:not([hidden])").count(), 1)
            page.set_viewport_size({"width": 390, "height": 700})
            self.assertTrue(page.evaluate("document.body.scrollWidth <= window.innerWidth"))
