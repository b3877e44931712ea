"""Ends by the clock, with real browsers; and a clock that jumps."""

from __future__ import annotations

import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.chromium import open_page, save_screenshot, wait_for_state
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import Gateway, XvncServer, becomes_true, cannot_test, require

_DAY_S = 86400


def end_of_session(gateway: Gateway) -> dict[str, object]:
    """Return the audit log's line of a gateway's only session's end."""
    assert becomes_true(lambda: len(gateway.audit()) == 2)
    return gateway.audit()[-1]


class ClockTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)

    def quiet_screen(self) -> XvncServer:
        """Start a real VNC server, on whose screen nothing changes."""
        server = XvncServer()
        self.addCleanup(server.stop)
        return server

    def gateway(self, **options: object) -> Gateway:
        gateway = Gateway(dict(options))
        self.addCleanup(gateway.stop)
        return gateway


class EndsByTheClockTests(ClockTestCase):
    def test_close_codes(self) -> None:
        """Each end by the clock closes with its own code and words, and is in the audit log."""
        for option, code, words, reason in [
            ("client_idle_timeout", 4408, "because nobody used it", "client-idle"),
            ("server_idle_timeout", 4444, "because its screen did not change", "server-idle"),
            (
                "max_session_time",
                4440,
                "The longest time for a console is over",
                "session-too-long",
            ),
        ]:
            gateway = self.gateway(**{option: 1})
            with ScriptedBrowser(gateway.console_url(self.target.port)) as browser:
                browser.open_console()
                closed, said = browser.read_close()
            self.assertEqual(closed, code)
            self.assertIn(words, said)
            self.assertEqual(end_of_session(gateway)["reason"], reason)

    def test_the_page_warns(self) -> None:
        """Our page warns before the end; a key keeps the console; without one it says why."""
        require("chromium")
        gateway = self.gateway(client_idle_timeout=6, end_warning=4)
        with open_page() as page:
            page.goto(gateway.console_url(self.quiet_screen().port))
            wait_for_state(page, "connected")
            page.wait_for_selector("#warning:not([hidden])")
            self.assertIn("Nobody uses this console", page.inner_text("#warning"))
            save_screenshot(page, "time-warning.png")
            page.keyboard.press("a")
            page.wait_for_selector("#warning", state="hidden")
            wait_for_state(page, "disconnected")
            self.assertEqual(page.inner_text("#headline"), "Closed after a time without use")
            self.assertIn("nobody used it for a while", page.inner_text("#reason"))

    def test_without_limits(self) -> None:
        """Where nothing ends by the clock, the page is told so."""
        gateway = self.gateway()
        with open_page() as page:
            page.goto(f"{gateway.url}/console")
            told = page.evaluate("fetch('console-limits').then((answer) => answer.json())")
        self.assertEqual(told, {"client_idle": 0, "server_idle": 0, "session": 0, "warning": 60})


class JumpingClockTests(ClockTestCase):
    def test_a_day_forth_and_back(self) -> None:
        """When the wall clock is set a day ahead or back no console ends, and new ones open."""
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
        if library is None:
            cannot_test("not installed: libfaketime")
        offset = Path(self.mktemp()).absolute()
        offset.write_text("+0")
        gateway = Gateway(
            {"heartbeat_interval": 30},
            environment={
                "LD_PRELOAD": str(library),
                "FAKETIME_TIMESTAMP_FILE": str(offset),
                "FAKETIME_NO_CACHE": "1",
                "DONT_FAKE_MONOTONIC": "1",
            },
        )
        self.addCleanup(gateway.stop)
        url = gateway.console_url(self.target.port, f"--ttl={3 * _DAY_S}")
        with ScriptedBrowser(url) as running:
            running.open_console()
            for jump in (_DAY_S, -_DAY_S):
                offset.write_text(f"{jump:+d}")
                with ScriptedBrowser(url) as new:
                    self.assertEqual(new.open_console(), fake_targets.SERVER_INIT)
                    today = time.strftime("%Y-%m-%d", time.gmtime(time.time() + jump))
                    self.assertTrue(str(gateway.audit()[-1]["time"]).startswith(today))
                running.write(b"still here")
                self.assertEqual(running.read(10), b"still here")
        self.assertTrue(becomes_true(lambda: gateway.sockets() == 1))
        self.assertEqual({line["event"] for line in gateway.audit()}, {"started", "ended"})
