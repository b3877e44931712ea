"""Which reasons let the page try again: by itself where waiting helps, never where nothing can."""

from __future__ import annotations

import re
import sqlite3

from playwright.sync_api import Page
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.chromium import open_page, save_screenshot, wait_for_state
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import Gateway, XvncServer, free_port, require


class TryingAgainTests(SynchronousTestCase):
    def start(self, **options: object) -> Gateway:
        require("chromium")
        self.gateway = Gateway(options)
        self.addCleanup(self.gateway.stop)
        return self.gateway

    def sql(self, statement: str) -> None:
        with sqlite3.connect(self.gateway.directory / "state/vncproxy.sqlite") as database:
            database.execute(statement)

    def assert_final(self, page: Page, headline: str) -> None:
        """Check that the page has come to an end that no button leads out of."""
        wait_for_state(page, "failed")
        self.assertEqual(page.inner_text("#headline"), headline)
        self.assertFalse(page.is_visible("#reconnect"))

    def test_links_that_can_never_work(self) -> None:
        """Unknown, expired, used, of another kind, of another site: there is no "Try again"."""
        gateway = self.start(single_use=True)
        dead = "This link does not work any more"
        target = FakeTarget(fake_targets.echo)
        self.addCleanup(target.stop)
        with open_page() as page:
            page.goto(f"{gateway.url}/console?path=%3Ftoken%3Dunknown")
            self.assert_final(page, dead)
            save_screenshot(page, "dead-link.png")
            url = gateway.console_url(free_port())
            self.sql("UPDATE console_auth_tokens SET expires = 1")
            page.goto(url)
            self.assert_final(page, dead)
            used = gateway.console_url(target.port)
            with ScriptedBrowser(used) as browser:
                browser.open_console()
            page.goto(used)
            self.assert_final(page, dead)
            self.assertIn("was used already", page.inner_text("#reason"))
            url = gateway.console_url(free_port())
            self.sql("UPDATE console_auth_tokens SET console_type = 'serial'")
            page.goto(url)
            self.assert_final(page, "Not allowed")
            url = gateway.console_url(free_port())
            self.sql("UPDATE console_auth_tokens SET access_url_base = 'https://h/'")
            page.goto(url)
            self.assert_final(page, "Not allowed")

    def test_a_machine_that_is_off(self) -> None:
        """Its link works when the machine does: the button stays, and nothing is tried alone."""
        gateway = self.start()
        with open_page() as page:
            page.goto(gateway.console_url(free_port()))
            wait_for_state(page, "failed")
            self.assertEqual(page.inner_text("#headline"), "The console can't be opened")
            self.assertTrue(page.is_visible("#reconnect"))

    def test_what_is_worth_waiting_for(self) -> None:
        """A page that comes when the gateway is full waits, and has its console in the end."""
        require("Xtigervnc")
        gateway = self.start(max_sessions=1)
        server = XvncServer()
        self.addCleanup(server.stop)
        target = FakeTarget(fake_targets.echo)
        self.addCleanup(target.stop)
        with open_page() as page:
            with ScriptedBrowser(gateway.console_url(target.port)) as first:
                first.open_console()
                page.goto(f"{gateway.console_url(server.port)}&reconnect_delay=500")
                wait_for_state(page, "reconnecting")
                self.assertIn("as many consoles as it can", page.inner_text("#reason"))
                self.assertRegex(page.inner_text("#hint"), r"^Trying again in \d+ s\.$")
                self.assertTrue(page.is_visible("#reconnect"))
                save_screenshot(page, "waiting.png")
            wait_for_state(page, "connected")

    def test_a_balancer_without_its_gateway(self) -> None:
        """What answers in a gateway's place says nothing of the link: the page goes on trying."""
        require("Xtigervnc")
        gateway = self.start()
        server = XvncServer()
        self.addCleanup(server.stop)
        with open_page() as page:
            page.goto(f"{gateway.console_url(server.port)}&reconnect_delay=500")
            wait_for_state(page, "connected")
            page.route(
                re.compile(r"/console\?token="),
                lambda route: route.fulfill(status=404, body="<h1>Not Found</h1>"),
            )
            gateway.program.stop()
            page.wait_for_selector("#reason:has-text('HTTP status 404')")
            self.assertEqual(page.inner_text("#headline"), "The gateway can't be reached")
            wait_for_state(page, "reconnecting")
            gateway.start()
            wait_for_state(page, "connected")
