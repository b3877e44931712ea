"""Pages the second time: reloaded, and in a further tab, while the browser has them cached."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

from tests.e2e.chromium import open_page, wait_for_state, wait_until
from tests.e2e.programs import Gateway, XvncServer, require
from tests.e2e.test_console_api import ConsoleApiTestCase
from tests.e2e.test_consoles import ConsolesTestCase, xterm_directory

_DISTRIBUTION_NOVNC = "/usr/share/novnc"
_SPICE_HTML5 = "/usr/share/spice-html5"

# Playwright's own events say 200 of some answers that were 304.
_CACHED = "performance.getEntries().filter(entry => entry.deliveryType === 'cache').length"


def assert_works_again(url: str, works: Callable[[Page], None]) -> None:
    """Check a page when it is new, when it is reloaded, and in a second tab."""
    with open_page() as page:
        page.goto(url)
        works(page)
        page.reload()
        works(page)
        assert page.evaluate(_CACHED) > 0
        again = page.context.new_page()
        again.goto(url)
        works(again)
        page.reload()
        works(page)


def connects(page: Page) -> None:
    """Wait until our page shows its console."""
    wait_for_state(page, "connected")


class ReloadTests(ConsolesTestCase):
    def setUp(self) -> None:
        require("chromium")

    def screen(self) -> XvncServer:
        server = XvncServer("-SecurityTypes", "None", "-AlwaysShared")
        self.addCleanup(server.stop)
        server.run("xsetroot", "-solid", "#336699")
        return server

    def test_our_console_page(self) -> None:
        """It connects each time."""
        require("Xtigervnc")
        self.start_gateway()
        assert_works_again(self.gateway.console_url(self.screen().port), connects)

    def test_novnc_s_own_pages(self) -> None:
        """Their inline scripts and styles are allowed each time."""
        require("Xtigervnc", f"{_DISTRIBUTION_NOVNC}/vnc_lite.html")
        gateway = Gateway(novnc=_DISTRIBUTION_NOVNC)
        self.addCleanup(gateway.stop)
        url = gateway.console_url(self.screen().port)

        def draws(page: Page) -> None:
            wait_until(
                page,
                "document.querySelector('canvas')?.getContext('2d')"
                ".getImageData(9, 9, 1, 1).data[2] > 100",
            )

        assert_works_again(url.replace("/console", "/vnc_lite.html"), draws)
        whole = url.replace("/console?", "/vnc.html?autoconnect=1&")
        assert_works_again(whole, draws)

    def test_the_terminal(self) -> None:
        """xterm.js may make its style sheets each time."""
        self.start_gateway(xterm=xterm_directory())
        url = self.gateway.console_url(self.echo(), "--type=serial")

        def echoes(page: Page) -> None:
            connects(page)
            page.keyboard.insert_text("again")
            page.wait_for_selector(".xterm-rows >> text=again")

        assert_works_again(url, echoes)

    def test_spice_html5_s_page(self) -> None:
        """Its handlers in attributes are allowed each time."""
        require(f"{_SPICE_HTML5}/spice_auto.html")
        self.start_gateway()
        url = self.gateway.console_url(self.machine().spice_port, "--type=spice-html5")

        def draws(page: Page) -> None:
            page.wait_for_selector("#spice-screen canvas")

        assert_works_again(url, draws)


class ApiPageTests(ConsoleApiTestCase):
    def test_the_servers_page(self) -> None:
        """A token that the tab remembers, or is given, opens the list each time."""
        require("chromium")
        gateway = self.start("token")
        token = self.caller(gateway, "kim", "--servers", "*")

        def lists(page: Page) -> None:
            wait_until(
                page,
                "document.querySelector('#sign-in')?.checkVisibility()"
                " || document.querySelectorAll('#servers li').length >= 5",
            )
            if page.is_visible("#token"):
                page.fill("#token", token)
                page.click("#sign-in button")
            page.wait_for_selector("#servers li >> nth=4")

        assert_works_again(self.url, lists)
