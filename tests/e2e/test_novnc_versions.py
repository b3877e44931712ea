"""Our console page on each version of noVNC that there is, from 1.0 on."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.chromium import (
    canvas_picture,
    open_page,
    save_screenshot,
    wait_for_state,
    wait_until,
)
from tests.e2e.programs import (
    Gateway,
    XvncServer,
    becomes_true,
    cannot_test,
    copied_in,
    free_port,
    require,
)

_BLUE = (0x33, 0x66, 0x99)


def novnc_of(version: str) -> str:
    """Return the directory of this version, which the Makefile brings."""
    found = Path(os.environ.get("VNCPROXY_NOVNCS") or "/nowhere") / f"novnc-{version}"
    return str(found) if found.is_dir() else cannot_test("`make test` brings them, by npm")


class NoVncVersionTests(SynchronousTestCase):
    def start(self, version: str) -> None:
        require("chromium", "Xtigervnc", "xterm")
        self.gateway = Gateway(novnc=novnc_of(version))
        self.addCleanup(self.gateway.stop)

    def try_page(self, version: str) -> None:
        """Use a console from its opening over a lost connection to its end."""
        self.start(version)
        server = XvncServer("-SecurityTypes", "None", "-desktop", "a screen")
        self.addCleanup(server.stop)
        server.run("xsetroot", "-solid", "#{:02x}{:02x}{:02x}".format(*_BLUE))
        typed = self.gateway.directory / "typed"
        shell = f'for n in 1 2; do read line; echo "$line" >> {typed}; done; read -r forever'
        terminal = server.start(
            *("xterm", "-geometry", "60x12+20+20", "-e", "sh", "-c", shell),
        )
        self.addCleanup(terminal.stop)
        server.run("xdotool", "search", "--sync", "--onlyvisible", "--class", "xterm")
        server.run("xdotool", "mousemove", "100", "100")
        with open_page() as page:
            page.goto(f"{self.gateway.console_url(server.port)}&reconnect_delay=500")
            wait_for_state(page, "connected")
            wait_until(page, "document.title.includes('a screen')")
            self.assertTrue(
                becomes_true(lambda: canvas_picture(page).getpixel((700, 500)) == _BLUE)
            )
            page.keyboard.type("by hand\n")
            self.assertTrue(becomes_true(lambda: typed.exists()))
            page.click("#clipboard-button")
            page.fill("#clipboard-text", "As Keys!\n")
            self.assertTrue(becomes_true(lambda: copied_in(server) == "As Keys!\n"))
            page.click("#type-text")
            self.assertTrue(
                becomes_true(lambda: typed.read_text() == "by hand\nAs Keys!\n"), typed.read_text()
            )
            save_screenshot(page, f"novnc-{version}.png")
            self.gateway.program.stop()
            wait_for_state(page, "reconnecting")
            self.assertEqual(page.inner_text("#headline"), "The gateway is being restarted")
            self.gateway.start()
            wait_for_state(page, "connected")
            server.stop()
            wait_for_state(page, "disconnected")
            self.assertEqual(page.inner_text("#reason"), "The machine closed the console.")
            page.goto(self.gateway.console_url(free_port()))
            wait_for_state(page, "failed")
            self.assertIn("Is the machine running? (req-", page.inner_text("#reason"))
        self.assertIn(f", version {version}", self.gateway.log)

    def test_1_0(self) -> None:
        self.try_page("1.0.0")

    def test_1_1(self) -> None:
        self.try_page("1.1.0")

    def test_1_2(self) -> None:
        self.try_page("1.2.0")

    def test_1_3(self) -> None:
        self.try_page("1.3.0")

    def test_1_4(self) -> None:
        self.try_page("1.4.0")

    def test_1_7(self) -> None:
        self.try_page("1.7.0")

    def try_long_texts(self, version: str, fits: str, too_long: str) -> None:
        """Fill the clipboard with what server or noVNC can't take, then with what they can."""
        self.start(version)
        server = XvncServer()
        self.addCleanup(server.stop)
        with open_page() as page:
            page.goto(self.gateway.console_url(server.port))
            wait_for_state(page, "connected")
            page.click("#clipboard-button")
            page.fill("#clipboard-text", too_long)
            page.wait_for_selector("#clipboard-hint:has-text('too long')")
            save_screenshot(page, "clipboard-too-long.png")
            wait_for_state(page, "connected")
            page.fill("#clipboard-text", fits)
            self.assertTrue(becomes_true(lambda: copied_in(server) == fits))
            self.assertEqual(page.inner_text("#clipboard-hint"), "")

    def test_a_text_too_long_for_the_clipboard(self) -> None:
        """A text that servers don't take is named, and not sent."""
        self.try_long_texts("1.7.0", "b" * 250_000, "a" * 3_000_000)

    def test_a_text_too_long_for_1_0(self) -> None:
        """It takes less, and says nothing any more after a longer text: the page connects again."""
        self.try_long_texts("1.0.0", "b" * 9_000, "a" * 20_000)

    def test_without_modules(self) -> None:
        """Those of npm, 1.5 and 1.6, are not for browsers; page, log and `check` say so."""
        for version in ("1.5.0", "1.6.0"):
            self.start(version)
            with open_page() as page:
                page.goto(self.gateway.console_url(free_port()))
                wait_for_state(page, "failed")
                self.assertIn("the directory that has its core/", page.inner_text("#reason"))
                save_screenshot(page, "novnc-missing.png")
            fault = r"npm's 1\.5 and 1\.6 are not made for browsers; install noVNC"
            self.assertRegex(self.gateway.log, fault)
            self.assertRegex(self.gateway.command("check").stdout, f"FAIL +noVNC .*{fault}")

    def test_check(self) -> None:
        """`vncproxy check` names the version, by its package or by its files."""
        self.start("1.2.0")
        self.assertRegex(self.gateway.command("check").stdout, r"ok +noVNC +/.*, version 1\.2\.0")
