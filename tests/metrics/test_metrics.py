"""The metrics, as Prometheus' own parser reads them."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import cast

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import MemoryLeg, grant_for
from tests.test_session import FakeDialer
from tests.web.harness import FakeCheck, FakeStore
from vncproxy.edge.pending import PendingConnections
from vncproxy.errors import PortCheckFailed, PortCheckUnavailable
from vncproxy.metrics.exposition import Scrapes, exposition, merged
from vncproxy.metrics.node import NodeMetrics
from vncproxy.model import Ending, SessionFacts, Token
from vncproxy.registry import Registry
from vncproxy.rfb.negotiator import Negotiator
from vncproxy.session import Session, SessionPolicy
from vncproxy.target import Dialer
from vncproxy.timed import TimedCheck, TimedStore

_DASHBOARD = Path(__file__).parents[2] / "conf/grafana-dashboard.json"
_VERSION = b"RFB 003.008\n"


def samples(text: bytes) -> dict[str, float]:
    """Return the samples of an exposition by name and labels, as one writes them."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


class MetricsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = Registry(self.clock, 3.0)
        self.pending = PendingConnections(2, self.clock)
        self.metrics = NodeMetrics(
            self.registry, {"consoles": self.pending}, {"max_sessions": 7.0}, self.clock
        )
        self.metrics.startService()
        self.addCleanup(self.metrics.stopService)

    def samples(self) -> dict[str, float]:
        return samples(exposition(self.metrics.collected))


class SessionMetricsTests(MetricsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.dialer = FakeDialer()
        policy = SessionPolicy(
            self.clock,
            cast(Dialer, self.dialer),
            partial(Negotiator, auth_schemes=["none"]),
            15.0,
            self.metrics,
            measures=self.metrics,
        )
        facts = SessionFacts("req-1", "192.0.2.1", 0.0, grant_for(Token("t")))
        self.browser, self.server = MemoryLeg(), MemoryLeg()
        self.registry.start(Session(policy, facts), self.browser)

    def open(self) -> None:
        self.clock.advance(0.2)
        self.dialer.dialed[0].callback(self.server)
        self.clock.advance(0.4)
        self.server.received(_VERSION + b"\1\1" + bytes(4))
        self.browser.received(_VERSION + b"\1")

    def test_a_session(self) -> None:
        """Bytes of a running session are there before its end, and once after it."""
        self.open()
        self.server.received(b"picture")
        self.browser.received(b"key")
        found = self.samples()
        self.assertEqual(found["vncproxy_sessions"], 1)
        self.assertEqual(found["vncproxy_sessions_started_total"], 1)
        before = {to: found[f"vncproxy_bytes_total{{to={to}}}"] for to in ("client", "server")}
        self.assertEqual(before, {"client": 7, "server": 3})
        self.browser.lost(Ending.CLIENT_CLOSED, "")
        self.server.lost(Ending.SERVER_CLOSED, "")
        found = self.samples()
        after = {to: found[f"vncproxy_bytes_total{{to={to}}}"] for to in ("client", "server")}
        self.assertEqual(after, before)
        self.assertEqual(found["vncproxy_sessions"], 0)
        self.assertEqual(found["vncproxy_sessions_ended_total{reason=client-closed}"], 1)
        self.assertEqual(found["vncproxy_sessions_ended_total{reason=server-closed}"], 0)
        self.assertEqual(found["vncproxy_session_seconds_count"], 1)

    def test_the_phases(self) -> None:
        """Each phase of an opening has its own time."""
        self.open()
        found = self.samples()
        for phase, seconds in [("connect", 0.2), ("handshake", 0.4), ("all", 0.6)]:
            self.assertAlmostEqual(found[f"vncproxy_setup_seconds_sum{{phase={phase}}}"], seconds)
            self.assertEqual(found[f"vncproxy_setup_seconds_count{{phase={phase}}}"], 1)


class NodeMetricsTests(MetricsTestCase):
    def test_refusals(self) -> None:
        """Refusals are counted by reason, which is there before the first one."""
        self.assertEqual(self.samples()["vncproxy_refusals_total{reason=gateway-full}"], 0)
        facts = SessionFacts("req-1", "192.0.2.1", 0.0, ending=Ending.GATEWAY_FULL)
        self.metrics.refused(facts)
        self.assertEqual(self.samples()["vncproxy_refusals_total{reason=gateway-full}"], 1)
        reasons = {name for name in self.samples() if name.startswith("vncproxy_refusals_total")}
        self.assertEqual(len(reasons), len(Ending))

    def test_the_lag(self) -> None:
        """A reactor that is busy for a second is seen to be late by it."""
        for seconds in (1, 1, 2.5, 0.5):
            self.clock.rightNow += seconds
            self.clock.advance(0)
        found = self.samples()
        self.assertEqual(found["vncproxy_reactor_lag_seconds_sum"], 1.5)
        self.assertEqual(found["vncproxy_reactor_lag_seconds_bucket{le=0.001}"], 3)

    def test_waiting_connections(self) -> None:
        """Connections without a session, and those turned away."""
        for _ in range(3):
            self.pending.enter(object(), _Gone())
        found = self.samples()
        self.assertEqual(found["vncproxy_unauthenticated_connections{listeners=consoles}"], 2)
        self.assertEqual(found["vncproxy_connections_turned_away_total{listeners=consoles}"], 1)

    def test_bad_requests(self) -> None:
        """Requests that are refused for their form are counted by status."""
        name = "vncproxy_bad_requests_total{listeners=consoles,status=431}"
        self.assertEqual(self.samples()[name], 0)
        self.pending.bad_requests.refused("192.0.2.1", 431, "why")
        self.assertEqual(self.samples()[name], 1)
        self.assertEqual(self.samples()[name.replace("431", "400")], 0)

    def test_limits_and_state(self) -> None:
        """The configured limits stand beside the counts, so that an alert can compare them."""
        found = self.samples()
        self.assertEqual(found["vncproxy_limit{option=max_sessions}"], 7)
        self.assertEqual(found["vncproxy_worker_state{vncproxy_worker_state=running}"], 1)
        self.metrics.state("draining")
        self.assertEqual(self.samples()["vncproxy_worker_state{vncproxy_worker_state=draining}"], 1)


class _Gone:
    def give_way(self) -> None:
        """Go."""

    def close_if_idle(self) -> None:
        """Do nothing."""

    def retire(self) -> None:
        """Do nothing."""


class TimedTests(MetricsTestCase):
    def test_a_look_up(self) -> None:
        """A look-up that finds its token is measured, and one that does not is not."""
        store = FakeStore()
        store.pending = []
        timed = TimedStore(store, self.metrics, self.clock)
        for result in (grant_for(Token("t")), Failure(CancelledError())):
            waiting = timed.find(Token("t"))
            self.clock.advance(0.3)
            store.pending.pop().callback(result)
            waiting.addErrback(lambda _: None)
        self.assertEqual(self.samples()["vncproxy_setup_seconds_count{phase=token}"], 1)
        self.assertAlmostEqual(self.samples()["vncproxy_setup_seconds_sum{phase=token}"], 0.3)

    def test_a_check_by_rpc(self) -> None:
        """Calls count as failed without an answer, not with a bad one."""
        check = FakeCheck()
        timed = TimedCheck(check, self.metrics, self.clock, "rpc")
        for error in (None, PortCheckFailed("no"), PortCheckUnavailable("nobody answers")):
            check.error = error
            timed.check(grant_for(Token("t"))).addErrback(lambda _: None)
        found = self.samples()
        self.assertEqual(found["vncproxy_call_seconds_count{service=rpc}"], 3)
        self.assertEqual(found["vncproxy_call_failures_total{service=rpc}"], 1)
        self.assertEqual(found["vncproxy_setup_seconds_count{phase=check}"], 1)


class MergedTests(MetricsTestCase):
    def test_one_scrape_for_all_workers(self) -> None:
        """Every sample of every worker is there, with its worker's name, once per family."""
        self.metrics.refused(SessionFacts("r", "c", 0.0, ending=Ending.TOKEN_INVALID))
        one = exposition(self.metrics.collected)
        both = merged({"1": one, "2": one})
        found = samples(both)
        self.assertEqual(len(found), 2 * len(samples(one)))
        for worker in ("1", "2"):
            name = f"vncproxy_refusals_total{{reason=token-invalid,worker={worker}}}"
            self.assertEqual(found[name], 1)
        types = [line for line in both.splitlines() if line.startswith(b"# TYPE")]
        self.assertEqual(len(types), len(set(types)))
        self.assertIn(b"# TYPE vncproxy_setup_seconds histogram", types)
        self.assertIn(b"# TYPE vncproxy_refusals_total counter", types)

    def test_no_worker(self) -> None:
        """Without an answer there is nothing to tell."""
        self.assertEqual(samples(merged({})), {})


class DashboardTests(MetricsTestCase):
    def test_its_metrics_exist(self) -> None:
        """Every metric that the dashboard asks for is one that a gateway has, and it uses most."""
        dashboard = json.loads(_DASHBOARD.read_text())
        queries = [
            target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])
        ]
        self.assertGreater(len(queries), 10)
        self.metrics.called("database", 0.1, failed=False)
        self.metrics.took("all", 0.1)
        text = exposition(self.metrics.collected).decode()
        ours = {sample.name for f in text_string_to_metric_families(text) for sample in f.samples}
        asked = set()
        for query in queries:
            asked |= set(re.findall(r"\b(?:vncproxy|process)_\w+", query))
        self.assertEqual(asked - ours, set())
        self.assertIn("vncproxy_sessions", asked)

    def test_its_form(self) -> None:
        """Panels have ids and places of their own, and a data source that Grafana asks for."""
        dashboard = json.loads(_DASHBOARD.read_text())
        panels = dashboard["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
        self.assertEqual(len(set(places)), len(panels))
        self.assertEqual(dashboard["__inputs"][0]["name"], "DS_PROMETHEUS")


class ScrapesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rendered: list[Deferred[bytes]] = []
        self.scrapes = Scrapes(self.render, self.clock)

    def render(self) -> Deferred[bytes]:
        self.rendered.append(Deferred())
        return self.rendered[-1]

    def test_many_at_once(self) -> None:
        """They are told the same; who asks later is told what is true then, and not too soon."""
        asked = [self.scrapes.text() for _ in range(3)]
        self.clock.advance(0)
        later = [self.scrapes.text() for _ in range(3)]
        self.assertEqual(len(self.rendered), 1)
        self.rendered[0].callback(b"1")
        self.assertEqual([self.successResultOf(one) for one in asked], [b"1"] * 3)
        self.clock.advance(0.1)
        self.assertEqual(len(self.rendered), 1)
        self.clock.advance(0.1)
        self.assertEqual(len(self.rendered), 2)
        self.rendered[1].callback(b"2")
        self.assertEqual([self.successResultOf(one) for one in later], [b"2"] * 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_goes(self) -> None:
        """The others are told nevertheless."""
        gone, here = self.scrapes.text(), self.scrapes.text()
        self.clock.advance(0)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.rendered[0].callback(b"1")
        self.assertEqual(self.successResultOf(here), b"1")

    def test_a_fault(self) -> None:
        """It is logged once, however many asked; and the next are told again."""
        asked = [self.scrapes.text() for _ in range(3)]
        self.clock.advance(0)
        self.rendered[0].errback(ValueError())
        self.assertEqual([self.successResultOf(one) for one in asked], [None] * 3)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.scrapes.text()
        self.clock.advance(1)
        self.assertEqual(len(self.rendered), 2)
