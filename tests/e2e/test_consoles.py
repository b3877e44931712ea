"""Serial and SPICE consoles of a real machine, from programs and in Chromium; and their ends."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sqlite3
import subprocess
from pathlib import Path

from PIL import Image, ImageChops, ImageStat
from playwright.sync_api import Page
from twisted.trial.unittest import SynchronousTestCase
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.chromium import canvas_picture, open_page, save_screenshot, wait_for_state
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.machine import GREEN, GREEN_KEY, PROMPT, RED, Machine
from tests.e2e.programs import (
    TWISTD,
    Gateway,
    becomes_true,
    cannot_test,
    free_port,
    require,
)
from vncproxy.errors import ANSWERS
from vncproxy.model import Ending

_PATIENCE_S = 30
_SPICE_DEPTH = 8  # of 256: SPICE sends a screen of 256 colours in 15 bits
_SPICE_HTML5 = "/usr/share/spice-html5"


def xterm_directory() -> str:
    """Return xterm.js's directory, which the Makefile brings."""
    found = os.environ.get("VNCPROXY_XTERM", "")
    return found or cannot_test("xterm.js is not there; `make test` brings it, by npm")


def open_socket(url: str, *subprotocols: str, origin: str | None = None) -> ClientConnection:
    """Open the WebSocket of a console's URL, as programs do."""
    return connect(
        url.replace("http", "ws", 1),
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        origin=Origin(origin) if origin else None,
        compression=None,
        proxy=None,
    )


def read_until(connection: ClientConnection, end: bytes) -> bytes:
    """Return what comes, up to these bytes."""
    stream = b""
    while not stream.endswith(end):
        message = connection.recv(_PATIENCE_S)
        assert isinstance(message, bytes)
        stream += message
    return stream


def read_close(connection: ClientConnection) -> tuple[int, str]:
    """Read to the end; return the Close frame's code and reason."""
    try:
        while True:
            connection.recv(_PATIENCE_S)
    except ConnectionClosed:
        assert connection.close_code is not None
        return connection.close_code, connection.close_reason or ""


class ConsolesTestCase(SynchronousTestCase):
    """A gateway for all kinds of console."""

    def start_gateway(self, groups: str = "", **options: object) -> None:
        ports = [free_port(), free_port()]
        self.gateway = Gateway(
            {"consoles": "novnc, serial, spice-html5", **options},
            more=f"[serial_console]\nserialproxy_port = {ports[0]}\n"
            f"[spice]\nhtml5proxy_port = {ports[1]}\n{groups}",
        )
        self.addCleanup(self.gateway.stop)
        self.serial_url, self.spice_url = (f"http://127.0.0.1:{port}" for port in ports)
        self.gateway.program.wait_for(f"listening on tcp:{ports[1]}:")

    def machine(self) -> Machine:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        machine = Machine(directory)
        self.addCleanup(machine.stop)
        return machine

    def echo(self) -> int:
        """Start a console that sends back what it is sent; return its port."""

        def echo(connection: socket.socket) -> None:
            while data := connection.recv(65536):
                connection.sendall(data)

        target = FakeTarget(echo)
        self.addCleanup(target.stop)
        return target.port


class SerialTests(ConsolesTestCase):
    def setUp(self) -> None:
        self.start_gateway()

    def test_a_getty(self) -> None:
        """What programs and dashboards do, text and binary frames alike, with a real machine."""
        url = self.gateway.console_url(self.machine().serial_port, "--type=serial")
        self.assertTrue(url.startswith(f"{self.serial_url}/?token="), url)
        with open_socket(url, "binary", "base64", origin=self.serial_url) as console:
            self.assertEqual(console.subprotocol, "binary")
            console.send(b"\r")
            console.send("root")
            self.assertTrue(read_until(console, b"root").endswith(PROMPT + b"root"))
            console.send(b"\r")
            self.assertEqual(read_until(console, b"login: "), PROMPT)
        self.gateway.program.wait_for("client-closed.* 6 to the server")

    def test_the_wrong_listener(self) -> None:
        """A link opens its own kind of console only, and the user reads so in the kind's way."""
        port = self.echo()
        novnc = self.gateway.console_url(port)
        token = novnc[-36:]
        for base in (self.serial_url, self.spice_url):
            with open_socket(f"{base}/?token={token}") as console:
                code, reason = read_close(console)
            self.assertEqual(code, 4403)
            words = re.escape(ANSWERS[Ending.WRONG_CONSOLE_TYPE].words)
            self.assertRegex(reason, rf"^{words} \(req-[^)]{{36}}\)$")
        serial = self.gateway.console_url(port, "--type=serial")
        path = f"{self.gateway.url}/console?path=%3Ftoken%3D{serial[-36:]}"
        with ScriptedBrowser(path) as browser:
            self.assertIn("another kind of console. (req-", browser.read_refusal())
        self.assertEqual(self.gateway.log.count(": wrong-console-type (a token of type"), 3)

    def test_the_machine_is_off(self) -> None:
        """The Close carries what RFB would have said; the log has the same id."""
        with open_socket(self.gateway.console_url(free_port(), "--type=serial")) as console:
            code, reason = read_close(console)
        self.assertEqual(code, 4502)
        words, _, request_id = reason.partition(" (")
        self.assertEqual(words, "The machine's console cannot be reached. Is the machine running?")
        self.gateway.program.wait_for(request_id.rstrip(")") + " ended after .*target-refused")

    def test_the_client_speaks_first(self) -> None:
        """A megabyte that is sent at once comes back whole, in both directions' order."""
        url = self.gateway.console_url(self.echo(), "--type=serial")
        sent = bytes(range(256)) * 4096
        with open_socket(url) as console:
            for start in range(0, len(sent), 1 << 15):
                console.send(sent[start : start + (1 << 15)])
            received = b""
            while len(received) < len(sent):
                message = console.recv(_PATIENCE_S)
                assert isinstance(message, bytes)
                received += message
        self.assertEqual(received, sent)


class TerminalPageTests(ConsolesTestCase):
    """Our page of the serial listener, in Chromium."""

    def setUp(self) -> None:
        require("chromium")
        self.start_gateway(xterm=xterm_directory())

    def assert_screen(self, page: Page, text: str) -> None:
        """Wait until the terminal shows this text."""

        def screen() -> str:
            return page.inner_text(".xterm-rows").replace("\xa0", " ")

        self.assertTrue(becomes_true(lambda: text in screen()), screen())

    def test_a_session(self) -> None:
        """Keys reach the machine, what it says is shown, and its end is told."""
        machine = self.machine()
        with open_page() as page:
            page.goto(self.gateway.console_url(machine.serial_port, "--type=serial"))
            wait_for_state(page, "connected")
            self.assertTrue(page.is_visible("#wake"))
            page.keyboard.type("\nroot")
            self.assert_screen(page, "vm login: root")
            self.assertFalse(page.is_visible("#wake"))
            save_screenshot(page, "serial.png")
            machine.stop()
            wait_for_state(page, "disconnected")
            self.assertEqual(page.inner_text("#reason"), "The machine closed the console.")
            self.assert_screen(page, "vm login: root")

    def test_letters_of_every_language(self) -> None:
        """They go and come as UTF-8, also what is pasted."""
        with open_page() as page:
            page.goto(self.gateway.console_url(self.echo(), "--type=serial"))
            wait_for_state(page, "connected")
            page.keyboard.insert_text("Grüße, 世界")
            self.assert_screen(page, "Grüße, 世界")

    def test_a_long_text_is_pasted(self) -> None:
        """Three megabytes arrive whole: they go in messages that the gateway takes."""
        heard = hashlib.sha256()
        sizes: list[int] = []

        def listen(connection: socket.socket) -> None:
            while data := connection.recv(65536):
                heard.update(data)
                sizes.append(len(data))

        target = FakeTarget(listen)
        self.addCleanup(target.stop)
        text = "".join(f"{number:07}é\r" for number in range(300_000))
        paste = """text => {
            const clipboardData = new DataTransfer();
            clipboardData.setData("text/plain", text);
            document.querySelector(".xterm-helper-textarea")
                .dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
        }"""
        with open_page() as page:
            page.goto(self.gateway.console_url(target.port, "--type=serial"))
            wait_for_state(page, "connected")
            page.evaluate(paste, text)
            self.assertTrue(becomes_true(lambda: sum(sizes) >= len(text.encode())))
            self.assertEqual(heard.hexdigest(), hashlib.sha256(text.encode()).hexdigest())
            wait_for_state(page, "connected")

    def test_refusals(self) -> None:
        """The page shows the Close's words, with the request's id."""
        with open_page() as page:
            page.goto(f"{self.serial_url}/?token=unknown")
            wait_for_state(page, "disconnected")
            self.assertRegex(page.inner_text("#reason"), r"not valid or has expired.* \(req-")
            self.assertFalse(page.is_visible("#reconnect"))
            page.goto(f"{self.serial_url}/")
            wait_for_state(page, "failed")
            self.assertIn("vncproxy token create", page.inner_text("#reason"))

    def test_two_tokens(self) -> None:
        """Two different tokens in the page's URL open no console."""
        url = self.gateway.console_url(self.echo(), "--type=serial")
        with open_page() as page:
            page.goto(f"{url}&token=another")
            wait_for_state(page, "failed")
            self.assertIn("Its tokens differ", page.inner_text("#reason"))

    def test_the_machine_reaches_for_the_clipboard(self) -> None:
        """What a terminal program says to the clipboard (OSC 52) neither writes it nor reads it."""
        heard: list[bytes] = []

        def reach(connection: socket.socket) -> None:
            connection.sendall(b"\x1b]52;c;c3RvbGVu\x07\x1b]52;c;?\x07\x1b[c done")
            while data := connection.recv(4096):
                heard.append(data)

        target = FakeTarget(reach)
        self.addCleanup(target.stop)
        with open_page() as page:
            page.context.grant_permissions(["clipboard-read", "clipboard-write"])
            page.goto(self.serial_url)
            page.evaluate("navigator.clipboard.writeText('mine')")
            page.goto(self.gateway.console_url(target.port, "--type=serial"))
            self.assert_screen(page, "done")
            # The answer to the last question comes behind that to the clipboard's, if any.
            self.assertTrue(becomes_true(lambda: b"".join(heard).endswith(b"c")))
            self.assertEqual(page.evaluate("navigator.clipboard.readText()"), "mine")
        self.assertRegex(b"".join(heard), rb"^\x1b\[\?[0-9;]+c$")

    def test_without_xterm(self) -> None:
        """The page says what the administrator has to do."""
        self.start_gateway()
        with open_page() as page:
            page.goto(self.gateway.console_url(self.echo(), "--type=serial"))
            wait_for_state(page, "failed")
            self.assertIn("[vncproxy] xterm", page.inner_text("#reason"))


class SpiceTests(ConsolesTestCase):
    def test_a_screen_and_a_key(self) -> None:
        """spice-html5 draws the machine's screen, and a key changes it: four channels, one link."""
        require("chromium", f"{_SPICE_HTML5}/spice_auto.html")
        self.start_gateway()
        url = self.gateway.console_url(self.machine().spice_port, "--type=spice-html5")
        self.assertTrue(url.startswith(f"{self.spice_url}/spice_auto.html?token="), url)
        with open_page() as page:
            page.goto(url)
            page.wait_for_selector("#spice-screen canvas")
            self.assert_colour(page, RED)
            page.mouse.move(400, 300)
            self.assert_key_changes_colour(page, GREEN_KEY, GREEN)
            save_screenshot(page, "spice.png")
            page.click("#login button")  # its handler is an attribute
            self.assertTrue(page.is_visible("#sendCtrlAltDel"))
        self.assertEqual(self.gateway.log.count(" opens: 127.0.0.1 to instance"), 4)

    def test_a_link_of_single_use(self) -> None:
        """All of a session's channels are one use of its link; another browser comes too late."""
        require("chromium", f"{_SPICE_HTML5}/spice_auto.html")
        self.start_gateway(single_use=True)
        url = self.gateway.console_url(self.machine().spice_port, "--type=spice-html5")
        with open_page() as page:
            page.goto(url)
            page.wait_for_selector("#spice-screen canvas")
            self.assert_colour(page, RED)
            assert page.context.browser is not None
            page.context.browser.new_context().new_page().goto(url)  # it shares no cookies
            self.gateway.program.wait_for("refused: .* token-used")
            self.assert_key_changes_colour(page, GREEN_KEY, GREEN)
        self.assertEqual(self.gateway.log.count(" opens: 127.0.0.1 to instance"), 4)

    def assert_colour(self, page: Page, colour: tuple[int, int, int]) -> None:
        """Wait until the whole screen has this colour."""
        self.assertTrue(
            becomes_true(lambda: has_colour(page, colour)), canvas_picture(page).getextrema()
        )

    def assert_key_changes_colour(self, page: Page, key: str, colour: tuple[int, int, int]) -> None:
        """Press a key as a person does: again, until the screen shows it.

        The screen may be there before the channel of keys is open, and spice-html5 drops what is
        pressed until then.
        """

        def pressed() -> bool:
            page.keyboard.press(key)
            return has_colour(page, colour)

        self.assertTrue(becomes_true(pressed), canvas_picture(page).getextrema())


def has_colour(page: Page, colour: tuple[int, int, int]) -> bool:
    """Return whether the whole screen has this colour."""
    plain = Image.new("RGB", canvas_picture(page).size, colour)
    difference = ImageChops.difference(canvas_picture(page), plain)
    return max(ImageStat.Stat(difference).mean) <= _SPICE_DEPTH


class LiveEndTests(ConsolesTestCase):
    """Consoles that end because of their token."""

    def open(self, *options: str) -> tuple[ClientConnection, str]:
        """Open a console that echoes; return it, and its token's id."""
        url = self.gateway.console_url(self.target, "--type=serial", *options)
        console = open_socket(url)
        self.addCleanup(console.close)
        console.send(b"hello")
        self.assertEqual(read_until(console, b"hello"), b"hello")
        ids = self.gateway.program.wait_for(r"[\s\S]*token ([0-9a-f]{12})")
        return console, ids[1]

    def database(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.gateway.directory / "state/vncproxy.sqlite")
        self.addCleanup(database.close)
        return database

    def setUp(self) -> None:
        self.target = self.echo()

    def test_a_revoked_token(self) -> None:
        """Its console is closed with the reason; others stay."""
        self.start_gateway(revoke_check=0.2)
        kept, _ = self.open()
        ended, token_id = self.open()
        self.assertEqual(self.gateway.command("token", "revoke", token_id).returncode, 0)
        words = "Access to this console has ended. If the machine has moved, open it again."
        self.assertEqual(read_close(ended), (4401, words))
        self.gateway.program.wait_for(rf"token-revoked \(token {token_id} was deleted\)")
        kept.send(b"still there")
        read_until(kept, b"still there")

    def test_what_ends_nothing(self) -> None:
        """Neither the purge of expired tokens nor a broken database does."""
        self.start_gateway(revoke_check=0.2, token_purge_interval=1)
        console, _ = self.open()
        with self.database() as database:
            database.execute("DROP TABLE console_auth_tokens")
        self.gateway.program.wait_for("revoked tokens are not noticed now: .*no such table")
        console.send(b"still there")
        read_until(console, b"still there")

    def test_the_time_of_a_token(self) -> None:
        """With enforce_session_timeout a console ends with its token."""
        self.start_gateway("[consoleauth]\nenforce_session_timeout = True\n")
        console, _ = self.open("--ttl=2")
        words = "The time for this console is over. Open the console again."
        self.assertEqual(read_close(console), (4401, words))
        self.gateway.program.wait_for(r"session-expired \(token [0-9a-f]{12} expired at \d+\)")

    def test_vnc_consoles_too(self) -> None:
        """Those of noVNC end in the same way."""
        self.start_gateway(revoke_check=0.2)
        target = FakeTarget(fake_targets.echo)
        self.addCleanup(target.stop)
        with ScriptedBrowser(self.gateway.console_url(target.port)) as browser:
            browser.open_console()
            with self.database() as database:
                database.execute("DELETE FROM console_auth_tokens")
            self.assertEqual(browser.read_close()[0], 4401)


class StartTests(ConsolesTestCase):
    def test_check(self) -> None:
        """`vncproxy check` names each listener and the library of its pages."""
        self.start_gateway()
        printed = self.gateway.command("check").stdout
        self.assertRegex(printed, r"ok +serial listener +tcp:\d+")
        self.assertRegex(printed, r"ok +spice-html5 listener +tcp:\d+")
        self.assertRegex(printed, r"ok +xterm\.js +no xterm\.js; for a terminal page, npm install")

    def test_a_port_in_use(self) -> None:
        """The line names the options of that listener."""
        self.start_gateway()
        config = str(self.gateway.config_file)
        flags = ("--config-file", config, "--vncproxy-consoles=serial")
        done = subprocess.run(
            [*TWISTD, "--nodaemon", "--pidfile=", "vncproxy", *flags],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
        self.assertEqual(done.returncode, 1)
        self.assertRegex(
            done.stdout,
            r"with \[serial_console\] serialproxy_port or \[vncproxy\] listen_serial, "
            r"or the kinds of console with \[vncproxy\] consoles",
        )
