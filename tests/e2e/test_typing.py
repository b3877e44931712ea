"""Text that is typed as keys: every character arrives, or is named before anything is sent."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.chromium import open_page, save_screenshot, wait_for_state, wait_until
from tests.e2e.keyboard import KeyboardMachine
from tests.e2e.programs import Gateway, XvncServer, becomes_true, require

# Every character of a US keyboard, and the keys that text has.
_ALL = "".join(map(chr, range(0x20, 0x7F)))
_THOUSAND = (f"{_ALL}\n\tTab, THEN a NewLine.\n" * 10)[:999] + "\n"
_FOREIGN = "ä€é\N{NO-BREAK SPACE}"


def type_as_keys(page: Page, text: str) -> None:
    """Put the text into the clipboard's panel, and have it typed."""
    if not page.is_visible("#clipboard-panel"):
        page.click("#clipboard-button")
    page.fill("#clipboard-text", text)
    page.click("#type-text")


class TypingTests(SynchronousTestCase):
    def setUp(self) -> None:
        require("chromium")
        self.gateway = Gateway()
        self.addCleanup(self.gateway.stop)

    def machine(self) -> KeyboardMachine:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        machine = KeyboardMachine(directory)
        self.addCleanup(machine.stop)
        return machine

    def assert_typed(self, machine: KeyboardMachine, text: str) -> None:
        """Wait until the machine has read this text, and no key is held any more."""
        becomes_true(lambda: len(machine.typed) >= len(text) and not machine.held)
        self.assertEqual(machine.typed, text)

    def test_a_thousand_characters_in_qemu(self) -> None:
        """They arrive at a machine's keyboard, with Shift where it is needed, and Tab and Enter."""
        machine = self.machine()
        with open_page() as page:
            page.goto(self.gateway.console_url(machine.port))
            wait_for_state(page, "connected")
            type_as_keys(page, _THOUSAND)
            page.wait_for_selector("#typing-count:has-text('of 1,000')")
            save_screenshot(page, "typing.png")
            page.mouse.click(550, 650)  # on the screen, which closes the panel
            self.assertTrue(page.is_visible("#typing"))
            self.assert_typed(machine, _THOUSAND)
            page.wait_for_selector("#typing", state="hidden")

    def test_a_thousand_characters_in_x(self) -> None:
        """They arrive in a terminal of Xtigervnc's."""
        require("Xtigervnc", "xterm")
        server = XvncServer()
        self.addCleanup(server.stop)
        typed = self.gateway.directory / "typed"
        shell = f"stty raw -echo; echo ready; head -c 1000 > {typed}"
        terminal = server.start("xterm", "-geometry", "60x12+20+20", "-e", "sh", "-c", shell)
        self.addCleanup(terminal.stop)
        server.run("xdotool", "search", "--sync", "--onlyvisible", "--class", "xterm")
        server.run("xdotool", "mousemove", "100", "100")
        with open_page() as page:
            page.goto(self.gateway.console_url(server.port))
            wait_for_state(page, "connected")
            self.assertTrue(becomes_true(typed.exists))
            type_as_keys(page, _THOUSAND)
            becomes_true(lambda: typed.stat().st_size == len(_THOUSAND))
            self.assertEqual(typed.read_bytes().decode(), _THOUSAND.replace("\n", "\r"))

    def test_what_no_key_has_is_named_first(self) -> None:
        """Nothing is typed until the user has read which characters would be lost."""
        machine = self.machine()
        with open_page() as page:
            page.goto(self.gateway.console_url(machine.port))
            wait_for_state(page, "connected")
            type_as_keys(page, f"a{_FOREIGN}a{_FOREIGN}")
            hint = page.inner_text("#typing-hint")
            self.assertIn("Nothing was typed. On no key of a US keyboard: ä € é U+00A0.", hint)
            save_screenshot(page, "typing-foreign.png")
            type_as_keys(page, "b")
            self.assert_typed(machine, "b")
            self.assertFalse(page.is_visible("#type-anyway"))
            type_as_keys(page, f"C{_FOREIGN}d")
            page.click("#type-anyway")
            self.assert_typed(machine, "bCd")  # a machine has no key for the others

    def test_stop(self) -> None:
        """The user can stop it, also while Shift is held, which is let go then."""
        machine = self.machine()
        with open_page() as page:
            page.goto(self.gateway.console_url(machine.port))
            wait_for_state(page, "connected")
            type_as_keys(page, "A" * 1000)
            self.assertTrue(becomes_true(lambda: len(machine.typed) > 10))
            page.click("#typing-stop")
            wait_until(page, "document.getElementById('typing').hidden")
            self.assertRegex(
                page.inner_text("#typing-hint"), r"^Stopped after \d+ of 1,000 characters\.$"
            )
            type_as_keys(page, "b")
            self.assertTrue(becomes_true(lambda: machine.typed.endswith("b") and not machine.held))
            self.assertLess(len(machine.typed), 500)

    def test_view_only_stops_it(self) -> None:
        """A page that shall only show types no further, and lets go of what it held."""
        machine = self.machine()
        with open_page() as page:
            page.goto(self.gateway.console_url(machine.port))
            wait_for_state(page, "connected")
            page.click("#keys-button")
            page.click("#held-keys :nth-child(1)")
            type_as_keys(page, "A" * 1000)
            self.assertTrue(becomes_true(lambda: len(machine.typed) > 10))
            page.click("#view-only")
            self.assertTrue(becomes_true(lambda: not machine.held), machine.held)
            self.assertLess(len(machine.typed), 500)
