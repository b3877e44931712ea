"""A name server that is silent: whom it concerns is told so, and nobody else notices."""

from __future__ import annotations

import signal
import statistics
import time
import uuid
from collections import Counter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.at_once import IN_WORDS, AtOnce
from tests.e2e.browser import ScriptedBrowser, websocket_url
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.pressure import Pressure
from tests.e2e.programs import Gateway, becomes_true
from tests.e2e.silent_dns import SilentDns

_STALLED = 100
_CONNECT_S = 8
_OTHER_THREADS = 25  # those of the token database, which come as they are needed
_WORDS = "The gateway can't look up the machine's host now. Try again in a minute."


class SilentDnsTests(SynchronousTestCase):
    def begin(self, gives_up_s: int, database: str | None = None, **options: object) -> None:
        """Enter a network with a silent name server, and start a gateway in it."""
        dns = SilentDns(gives_up_s, ("localhost", "in-hosts.example"))
        dns.__enter__()
        self.addCleanup(dns.__exit__, None, None, None)
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)
        limits = dict.fromkeys(("max_sessions_per_instance", "max_sessions_per_client"), 0)
        self.gateway = Gateway(
            {"connect_timeout": _CONNECT_S, "negotiation_timeout": 60, **limits, **options},
            database=database,
            within=dns.within,
        )
        self.addCleanup(self.gateway.stop)

    def url(self, host: str) -> str:
        return self.gateway.console_url(self.target.port, f"--host={host}")

    def crowd(self) -> AtOnce:
        """Let many open consoles at names that nobody knows, and wait until they hang."""
        urls = [websocket_url(self.url(f"silent-{n}.example")) for n in range(_STALLED)]
        crowd = AtOnce([("127.0.0.1", url) for url in urls])
        self.assertTrue(becomes_true(lambda: self.events()["started"] >= _STALLED))
        return crowd

    def events(self) -> Counter[object]:
        return Counter(line["event"] for line in self.gateway.audit())

    def ended(self) -> list[dict[str, object]]:
        return [line for line in self.gateway.audit() if line["event"] == "ended"]

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.gateway.program.pid}/task").iterdir()))

    def seconds_to_open(self, url: str) -> float:
        begun = time.monotonic()
        with ScriptedBrowser(url) as browser:
            self.assertEqual(browser.open_console(), fake_targets.SERVER_INIT)
        return time.monotonic() - begun

    def assert_others_open(self) -> None:
        """Those at addresses and in /etc/hosts open while the crowd hangs."""
        hosts = ["127.0.0.1", "::ffff:127.0.0.1", "in-hosts.example"]
        for urls in [[self.url(host)] * 7 for host in hosts]:
            self.assertLess(statistics.median(map(self.seconds_to_open, urls)), 1)

    def assert_told(self, crowd: AtOnce) -> None:
        """All of the crowd are refused as soon as they should be, for the right reason."""
        crowd.settle(self.gateway, still_open=0)
        self.assertEqual(crowd.outcomes, {IN_WORDS: _STALLED})
        self.assertTrue(becomes_true(lambda: self.events()["started"] == self.events()["ended"]))
        stalled = [line for line in self.ended() if ".example" in str(line["target"])]
        stalled = [line for line in stalled if "in-hosts" not in str(line["target"])]
        self.assertEqual({line["reason"] for line in stalled}, {"target-unresolved"})
        seconds = statistics.median(float(str(line["seconds"])) for line in stalled)
        self.assertLess(seconds, _CONNECT_S + 2)

    def assert_stops(self) -> None:
        """Stop the gateway, which takes less than what it would have to wait for."""
        begun = time.monotonic()
        self.assertEqual(self.gateway.program.stop(), -signal.SIGTERM)
        self.assertLess(time.monotonic() - begun, 8)

    def test_the_others(self) -> None:
        """Consoles elsewhere open at once, and nothing is left of those that hung."""
        self.begin(gives_up_s=20)
        self.seconds_to_open(self.url("127.0.0.1"))
        threads = self.threads()
        with Pressure(self.gateway) as pressure:
            crowd = self.crowd()
            with ScriptedBrowser(self.url("silent.example")) as browser:
                self.assert_others_open()
                self.assertIn(_WORDS, browser.read_refusal())
                self.assertEqual(browser.read_close()[0], 4503)
            self.assert_told(crowd)
        self.assertLess(pressure.usual_answer_ms, 50)
        self.assertIn("could not be looked up in 8 s", self.gateway.log)
        self.assertTrue(becomes_true(lambda: self.gateway.sockets() == 1))
        self.assertTrue(becomes_true(lambda: self.threads() <= threads + _OTHER_THREADS))

    def test_workers(self) -> None:
        """Each worker has threads of its own for this."""
        self.begin(gives_up_s=20, workers=2)
        crowd = self.crowd()
        self.assert_others_open()
        self.assert_told(crowd)

    def test_the_end(self) -> None:
        """The gateway stops at once, whatever is still being looked up."""
        self.begin(gives_up_s=30)
        crowd = self.crowd()
        self.assert_stops()
        crowd.settle(self.gateway, still_open=0)
        self.assertEqual({line["reason"] for line in self.ended()}, {"gateway-stopping"})

    def test_a_look_up_that_fails_by_itself(self) -> None:
        """It is told as such, and not as a name that does not exist."""
        self.begin(gives_up_s=1)
        with ScriptedBrowser(self.url("silent.example")) as browser:
            self.assertIn(_WORDS, browser.read_refusal())
        self.gateway.program.wait_for("target-unresolved .*silent.example.*[Tt]emporary failure")
        with ScriptedBrowser(self.url("x" * 64)) as browser:
            self.assertIn("Is the machine running?", browser.read_refusal())
        self.gateway.program.wait_for("target-unreachable .*no such host")

    def test_a_database_by_name(self) -> None:
        """It hurts those who need it, and neither /healthz nor the end waits for it."""
        self.begin(30, "mysql+pymysql://nova:secret@database.example/nova", port_check="off")
        url = f"{self.gateway.url}/vnc_lite.html?path=%3Ftoken%3D{uuid.uuid4()}"
        with Pressure(self.gateway) as pressure:
            for _ in range(3):
                with ScriptedBrowser(url) as browser:
                    self.assertIn("can't check console links now", browser.read_refusal())
        self.assertLess(pressure.usual_answer_ms, 50)
        self.gateway.program.wait_for("the token database did not answer in 5 s")
        self.assert_stops()
