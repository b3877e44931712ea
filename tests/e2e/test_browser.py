"""The whole way, with real parts: Chromium, the gateway, and the screen of a real VNC server."""

from __future__ import annotations

import io
import sqlite3
import struct
import subprocess

from PIL import Image, ImageChops, ImageStat
from playwright.sync_api import Page
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.certificates import write_certificate
from tests.e2e.chromium import (
    canvas_picture,
    open_page,
    save_screenshot,
    wait_for_state,
    wait_until,
)
from tests.e2e.programs import Gateway, XvncServer, becomes_true, copied_in, free_port, require

_DISTRIBUTION_NOVNC = "/usr/share/novnc"
_KEYBOARD_PANEL = (60, 380, 460, 500)  # of the demo console: left, top, right, bottom
_CLIPBOARD_PANEL = (672, 524, 960, 570)
_LAST_KEY = (420, 346, 610, 376)
# Gives a test the clipboard, and counts the page's own uses of it.
_COUNT_CLIPBOARD = """
    window.used = 0;
    window.copiedHere = Clipboard.prototype.readText.bind(navigator.clipboard);
    window.copyHere = Clipboard.prototype.writeText.bind(navigator.clipboard);
    for (const name of ["read", "readText", "write", "writeText"]) {
        const really = Clipboard.prototype[name];
        Clipboard.prototype[name] = function (...given) {
            window.used++;
            return really.apply(this, given);
        };
    }
"""
_ALMOST_EQUAL = 3.0  # of 255, on average: noVNC asks for JPEG


class ConsoleInChromiumTests(SynchronousTestCase):
    def setUp(self) -> None:
        require("chromium", "Xtigervnc")
        self.gateway = Gateway()
        self.addCleanup(self.gateway.stop)

    def screen(self) -> XvncServer:
        """Start a VNC server with a picture on its screen."""
        server = XvncServer()
        self.addCleanup(server.stop)
        server.run("xsetroot", "-solid", "#336699")
        return server

    def test_picture_keys_and_clicks(self) -> None:
        """What X draws is in the canvas, and what is typed and clicked there reaches X."""
        server = self.screen()
        events = server.start("xev", "-event", "button", "-geometry", "300x200+450+350")
        self.addCleanup(events.stop)
        typed = self.gateway.directory / "typed"
        shell = f'read line; echo "$line" > {typed}; echo got it; read -r forever'
        terminal = server.start(
            *("xterm", "-geometry", "60x12+20+20", "-bg", "#202020", "-fg", "#f0f0f0"),
            *("-e", "sh", "-c", shell),
        )
        self.addCleanup(terminal.stop)
        server.run("xdotool", "search", "--sync", "--onlyvisible", "--class", "xterm")
        with open_page() as page:
            page.goto(self.gateway.console_url(server.port))
            wait_for_state(page, "connected")
            self._assert_shows(page, server)
            move_to(page, 100, 100)
            page.keyboard.type("from the browser\n")
            self.assertTrue(becomes_true(lambda: typed.exists() and typed.stat().st_size > 0))
            self.assertEqual(typed.read_text(), "from the browser\n")
            move_to(page, 600, 450)
            page.mouse.down()
            page.mouse.up()
            events.wait_for(r"ButtonPress event[\s\S]*button 1")
            location = server.run("xdotool", "getmouselocation")
            self.assertTrue(location.startswith("x:600 y:450"), location)
            self._assert_shows(page, server)
            save_screenshot(page, "xvnc.png")

    def _assert_shows(self, page: Page, server: XvncServer) -> None:
        """Compare the canvas with the X server's own picture, until they agree."""
        drawn = picture_of(server)
        self.assertEqual(canvas_picture(page).size, drawn.size)

        def agrees() -> bool:
            difference = ImageChops.difference(canvas_picture(page), picture_of(server))
            return max(ImageStat.Stat(difference).mean) < _ALMOST_EQUAL

        if not becomes_true(agrees):
            save_screenshot(page, "differs.png")
            self.fail("the canvas differs from the X server's screen; see artifacts/differs.png")

    def test_view_only(self) -> None:
        """With the view-only switch on, no key and no click reaches the machine."""
        server = self.screen()
        events = server.start("xev", "-event", "button", "-geometry", "800x600+0+0")
        self.addCleanup(events.stop)
        server.run("xdotool", "search", "--sync", "--onlyvisible", "--name", "Event Tester")
        with open_page() as page:
            page.goto(self.gateway.console_url(server.port))
            wait_for_state(page, "connected")
            page.click("#view-only")
            self.assertTrue(page.is_visible("#badge"))
            move_to(page, 200, 200)
            page.mouse.click(500, 500, button="right")
            page.click("#view-only")
            move_to(page, 300, 300)
            page.mouse.down()
            page.mouse.up()
            events.wait_for(r"ButtonPress event[\s\S]*button 1")
        self.assertNotIn("button 3", events.output)

    def test_the_machine_is_off(self) -> None:
        """The page says in plain words that the machine can't be reached, with the request id."""
        with open_page() as page:
            page.goto(self.gateway.console_url(free_port()))
            wait_for_state(page, "failed")
            self.assertRegex(
                page.inner_text("#reason"),
                r"^The machine's console cannot be reached\. Is the machine running\? \(req-",
            )

    def test_the_link_is_refused_in_http(self) -> None:
        """What is refused before the WebSocket exists is asked for, and shown with its id."""
        url = self.gateway.console_url(free_port())
        with sqlite3.connect(self.gateway.directory / "state/vncproxy.sqlite") as database:
            database.execute("UPDATE console_auth_tokens SET access_url_base = 'https://h/'")
        with open_page() as page:
            page.goto(url)
            wait_for_state(page, "failed")
            reason = "This console may not be opened from that web page."
            self.assertEqual(page.inner_text("#reason"), reason)
            self.assertRegex(page.inner_text("#hint"), "^req-")

    def test_the_link_has_no_token(self) -> None:
        """A page without a token says what to do."""
        with open_page() as page:
            page.goto(f"{self.gateway.url}/console")
            wait_for_state(page, "failed")
            self.assertIn("vncproxy token create", page.inner_text("#reason"))

    def test_the_link_has_two_tokens(self) -> None:
        """A page whose URL names two different tokens opens no console, wherever they stand."""
        url = self.gateway.console_url(self.screen().port)
        token = url[-36:]
        with open_page() as page:
            for more in (
                *("&token=x", "&n=1#token=x", "&n=2#path=%3Ftoken%3Dx"),
                "&path=websockify%3Ftoken%3Dx",
            ):
                page.goto(url + more)
                wait_for_state(page, "failed")
                self.assertIn("Its tokens differ", page.inner_text("#reason"))
            page.goto(f"{url}&token={token}&token=#token={token}")
            wait_for_state(page, "connected")
            page.goto(f"{self.gateway.url}/console?path=http%3A%2F%2F%5B")
            wait_for_state(page, "failed")
            self.assertIn("vncproxy token create", page.inner_text("#reason"))

    def test_the_console_closes_and_comes_back(self) -> None:
        """When the machine closes its console the page says so, and opens it again on demand."""
        server = self.screen()
        with open_page() as page:
            page.goto(self.gateway.console_url(server.port))
            wait_for_state(page, "connected")
            server.run("xdotool", "key", "a")
            server.stop()
            wait_for_state(page, "disconnected")
            self.assertEqual(page.inner_text("#reason"), "The machine closed the console.")
            self.assertTrue(page.is_visible("#reconnect"))

    def test_a_restarted_gateway(self) -> None:
        """A page whose gateway stops says so, tries again by itself, and is back with it."""
        server = self.screen()
        with open_page() as page:
            page.goto(self.gateway.console_url(server.port) + "&reconnect_delay=500")
            wait_for_state(page, "connected")
            self.gateway.program.stop()
            wait_for_state(page, "reconnecting")
            self.assertEqual(page.inner_text("#headline"), "The gateway is being restarted")
            self.assertRegex(page.inner_text("#hint"), r"Trying again in \d+ s")
            self.gateway.start()
            wait_for_state(page, "connected")
            self._assert_shows(page, server)

    def test_the_clipboard_is_shared_on_demand_only(self) -> None:
        """This computer's clipboard is neither read nor written until the user switches that on."""
        server = self.screen()
        with open_page() as page:
            page.context.grant_permissions(["clipboard-read", "clipboard-write"])
            page.add_init_script(_COUNT_CLIPBOARD)
            page.goto(self.gateway.console_url(server.port))
            wait_for_state(page, "connected")
            self._copy_here(page, "copied here")
            self._copy_there(page, server, "copied there")  # it comes to the panel alone
            self._assert_untouched(page, "copied here")
            self.assertEqual(copied_in(server), "copied there")

            page.click("#clipboard-button")
            save_screenshot(page, "clipboard-off.png")
            page.check("#clipboard-sharing")
            self.assertTrue(becomes_true(lambda: copied_in(server) == "copied here"))
            save_screenshot(page, "clipboard-on.png")
            self._copy_here(page, "copied later")
            self.assertTrue(becomes_true(lambda: copied_in(server) == "copied later"))
            self._copy_there(page, server, "copied there later")
            self.assertTrue(
                becomes_true(lambda: page.evaluate("copiedHere()") == "copied there later")
            )

            page.uncheck("#clipboard-sharing")
            page.evaluate("used = 0")
            self._copy_here(page, "secret")
            self._copy_there(page, server, "at the end")
            self._assert_untouched(page, "secret")
            self.assertEqual(copied_in(server), "at the end")

            page.check("#clipboard-sharing")
            page.goto(self.gateway.console_url(server.port))  # another console
            wait_for_state(page, "connected")
            self.assertFalse(page.is_checked("#clipboard-sharing"))
            self._copy_here(page, "another secret")
            self._copy_there(page, server, "of another time")
            self._assert_untouched(page, "another secret")

    def test_the_clipboard_and_a_page_that_only_shows(self) -> None:
        """With view only on nothing is read, for nothing could be sent."""
        server = self.screen()
        with open_page() as page:
            page.context.grant_permissions(["clipboard-read", "clipboard-write"])
            page.add_init_script(_COUNT_CLIPBOARD)
            page.goto(self.gateway.console_url(server.port))
            wait_for_state(page, "connected")
            page.click("#clipboard-button")
            page.check("#clipboard-sharing")
            self.assertTrue(becomes_true(lambda: page.evaluate("used") == 1))
            page.click("#view-only")
            page.evaluate("used = 0")
            self._copy_here(page, "secret")
            page.click("#view-only")
            self._copy_there(page, server, "in the machine")
            self.assertEqual(page.evaluate("used"), 1)  # the write of what came

    def test_the_browser_says_no(self) -> None:
        """Where the browser does not let the page read the clipboard the panel says so."""
        server = self.screen()
        with open_page() as page:
            page.add_init_script(
                "navigator.clipboard.readText = () => Promise.reject(new Error('no'));"
            )
            page.goto(self.gateway.console_url(server.port))
            wait_for_state(page, "connected")
            page.click("#clipboard-button")
            page.check("#clipboard-sharing")
            page.wait_for_selector("#clipboard-hint:has-text('does not let this page read')")

    def _copy_here(self, page: Page, text: str) -> None:
        """Copy a text in another window of this computer, and come back to the page."""
        page.evaluate("copyHere", text)
        page.evaluate("window.dispatchEvent(new Event('focus'))")

    def _copy_there(self, page: Page, server: XvncServer, text: str) -> None:
        """Copy a text in the machine, and wait until the panel has it."""
        script = 'printf %s "$0" | xclip -selection clipboard -i >/dev/null 2>&1'
        server.run("sh", "-c", script, text)
        wait_until(page, f"document.getElementById('clipboard-text').value === '{text}'")

    def _assert_untouched(self, page: Page, copied: str) -> None:
        """Check that the page used this computer's clipboard in no way, and what is in it."""
        self.assertEqual(page.evaluate("used"), 0)
        self.assertEqual(page.evaluate("copiedHere()"), copied)

    def test_full_screen_and_scale(self) -> None:
        """The page fills the screen on demand, and shows the console's pixels one to one."""
        server = self.screen()
        with open_page(width=600, height=400) as page:
            page.goto(self.gateway.console_url(server.port))
            wait_for_state(page, "connected")
            width = "document.querySelector('canvas').getBoundingClientRect().width"
            self.assertLessEqual(page.evaluate(width), 600)
            page.click("#scale")
            self.assertEqual(page.get_attribute("#scale", "aria-pressed"), "false")
            page.click("#full-screen")
            wait_until(page, "document.fullscreenElement !== null")
            page.evaluate("document.exitFullscreen()")
            wait_until(page, "document.fullscreenElement === null")

    def test_tls(self) -> None:
        """Over HTTPS the page's WebSocket is one of TLS too, and the clipboard is the browser's."""
        cert = self.gateway.directory / "cert.pem"
        write_certificate(cert)
        gateway = Gateway(cert=cert)
        self.addCleanup(gateway.stop)
        with open_page() as page:
            page.goto(gateway.console_url(self.screen().port))
            wait_for_state(page, "connected")
            self.assertTrue(page.evaluate("window.isSecureContext"))
            save_screenshot(page, "tls.png")

    def test_a_phone(self) -> None:
        """The toolbar fits a phone's width."""
        server = self.screen()
        with open_page(width=390, height=760) as page:
            page.goto(self.gateway.console_url(server.port))
            wait_for_state(page, "connected")
            width = page.evaluate("document.getElementById('toolbar').scrollWidth")
            self.assertLessEqual(width, 390)
            save_screenshot(page, "phone.png")
            page.click("#clipboard-button")
            panel = page.locator("#clipboard-panel").bounding_box()
            assert panel is not None
            self.assertGreaterEqual(panel["x"], 0)
            page.fill("#clipboard-text", "a" * 1000)
            page.click("#type-text")
            page.wait_for_selector("#typing-stop")
            width = page.evaluate("document.getElementById('toolbar').scrollWidth")
            self.assertLessEqual(width, 390)
            save_screenshot(page, "phone-typing.png")


class StockNoVncTests(SynchronousTestCase):
    """The distribution's noVNC, with its own pages, at nova's URLs."""

    def setUp(self) -> None:
        require("chromium", "Xtigervnc")
        require(f"{_DISTRIBUTION_NOVNC}/vnc_lite.html")
        self.gateway = Gateway(novnc=_DISTRIBUTION_NOVNC)
        self.addCleanup(self.gateway.stop)

    def test_vnc_lite(self) -> None:
        """vnc_lite.html, whose inline script and style the policy allows by hash, connects."""
        server = XvncServer()
        self.addCleanup(server.stop)
        server.run("xsetroot", "-solid", "#336699")
        url = self.gateway.console_url(server.port).replace("/console", "/vnc_lite.html")
        with open_page() as page:
            page.goto(url)
            wait_until(page, "document.getElementById('status').innerText.startsWith('Conn')")
            wait_until(
                page,
                "document.querySelector('canvas')?.getContext('2d')"
                ".getImageData(9, 9, 1, 1).data[2] > 100",
            )

    def test_a_refusal_in_words(self) -> None:
        """The stock page shows the gateway's reason."""
        url = self.gateway.console_url(free_port()).replace("/console", "/vnc_lite.html")
        with open_page() as page:
            page.goto(url)
            reason = page.wait_for_event("console", lambda line: "cannot be reached" in line.text)
            self.assertIn("Is the machine running?", reason.text)


class DemoConsoleTests(SynchronousTestCase):
    def open_demo(self, novnc: str | None = None) -> str:
        """Start a gateway with the demo console, and return its link."""
        require("chromium")
        self.gateway = Gateway(flags=("--vncproxy-demo",), novnc=novnc)
        self.addCleanup(self.gateway.stop)
        url = self.gateway.program.wait_for(r"http://\S+token%3D\S+")[0]
        logged = [line for line in self.gateway.log.split("\n") if "#" in line]
        self.assertNotIn(url[-36:], "\n".join(logged))
        return url

    def wait_for_change(self, page: Page, panel: tuple[int, int, int, int], act: str) -> None:
        """Do something in the page, and wait until that panel of the demo's picture changes."""
        before = canvas_picture(page).crop(panel)
        page.evaluate(act)
        self.assertTrue(becomes_true(lambda: canvas_picture(page).crop(panel) != before), act)

    def test_the_demo_is_alive(self) -> None:
        """The demo console shows a picture that changes by itself and by what is typed."""
        with open_page() as page:
            page.goto(self.open_demo())
            wait_for_state(page, "connected")
            first = canvas_picture(page)
            self.assertTrue(becomes_true(lambda: canvas_picture(page) != first))
            empty = canvas_picture(page).crop(_KEYBOARD_PANEL)
            page.keyboard.type("hello")
            self.assertTrue(
                becomes_true(lambda: canvas_picture(page).crop(_KEYBOARD_PANEL) != empty)
            )
            save_screenshot(page, "demo.png")

    def test_with_the_distribution_s_novnc(self) -> None:
        """On a machine without npm the link opens our page on the distribution's noVNC."""
        require(f"{_DISTRIBUTION_NOVNC}/vnc_lite.html")
        with open_page() as page:
            page.goto(self.open_demo(_DISTRIBUTION_NOVNC))
            wait_for_state(page, "connected")

    def test_the_clipboard_both_ways(self) -> None:
        """Text of the panel reaches the machine, and what is copied there fills the panel."""
        with open_page() as page:
            page.goto(self.open_demo())
            wait_for_state(page, "connected")
            page.click("#clipboard-button")
            before = canvas_picture(page).crop(_CLIPBOARD_PANEL)
            page.fill("#clipboard-text", "to the machine")
            self.assertTrue(
                becomes_true(lambda: canvas_picture(page).crop(_CLIPBOARD_PANEL) != before)
            )
            page.locator("canvas").focus()
            page.keyboard.type("from the machine")
            page.keyboard.press("Control+c")
            wait_until(
                page, "document.getElementById('clipboard-text').value === 'from the machine'"
            )

    def test_special_keys(self) -> None:
        """Ctrl+Alt+Del, a key of the menu, and text typed as keys arrive."""
        with open_page() as page:
            page.goto(self.open_demo())
            wait_for_state(page, "connected")
            click = "document.getElementById('{}').click()"
            self.wait_for_change(page, _LAST_KEY, click.format("ctrl-alt-del"))
            self.wait_for_change(
                page, _LAST_KEY, "document.querySelector('#function-keys :nth-child(2)').click()"
            )
            page.click("#clipboard-button")
            page.fill("#clipboard-text", "typed as keys")
            self.wait_for_change(page, _KEYBOARD_PANEL, click.format("type-text"))
            save_screenshot(page, "keys.png")

    def test_a_touch_keyboard(self) -> None:
        """On a touch device a button brings the keyboard, and what it types arrives."""
        with open_page(width=800, height=600, touch=True) as page:
            page.goto(self.open_demo())
            wait_for_state(page, "connected")
            before = canvas_picture(page).crop(_KEYBOARD_PANEL)
            page.tap("#touch-keyboard")
            wait_until(page, "document.activeElement.id === 'touch-input'")
            page.keyboard.insert_text("touched")
            self.assertTrue(
                becomes_true(lambda: canvas_picture(page).crop(_KEYBOARD_PANEL) != before)
            )

    def test_the_gateway_has_no_novnc(self) -> None:
        """The page says that noVNC is missing, and where to name it."""
        with open_page() as page:
            page.goto(self.open_demo("/usr/share/doc"))
            wait_for_state(page, "failed")
            self.assertIn("[DEFAULT] web", page.inner_text("#reason"))
        self.assertIn("no noVNC in /usr/share/doc", self.gateway.log)


def move_to(page: Page, x: int, y: int) -> None:
    """Move the pointer to this pixel of the console's screen."""
    box = page.evaluate(
        """() => {
            const { left, top, width } = document.querySelector("canvas").getBoundingClientRect();
            return [left, top, width / document.querySelector("canvas").width];
        }"""
    )
    left, top, scale = box
    page.mouse.move(left + (x + 0.5) * scale, top + (y + 0.5) * scale)


def picture_of(server: XvncServer) -> Image.Image:
    """Return the X server's own picture of its screen, read from `xwd`'s dump."""
    require("xwd")
    dump = subprocess.run(
        ["xwd", "-root", "-silent", "-display", server.display], capture_output=True, check=True
    ).stdout
    header = struct.unpack("!25I", dump[:100])
    header_size, width, height, line_bytes, colours = (
        header[0],
        header[4],
        header[5],
        header[12],
        header[19],
    )
    pixels = io.BytesIO(dump).getbuffer()[header_size + 12 * colours :]
    return Image.frombytes("RGB", (width, height), pixels.tobytes(), "raw", "BGRX", line_bytes)
