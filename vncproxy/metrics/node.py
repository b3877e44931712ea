"""The metrics of a gateway's process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from typing_extensions import override

from vncproxy import __version__, measures
from vncproxy.edge.bad_requests import BAD_STATUSES
from vncproxy.edge.pending import PendingConnections
from vncproxy.model import Ending, SessionFacts
from vncproxy.registry import Registry

_QUICK_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LASTING_S = (1, 10, 60, 300, 900, 1800, 3600, 14400, 43200, 86400)
_LAG_EVERY_S = 1.0
_STATES = ("running", "draining", "stopping")

disable_created_metrics()


class NodeMetrics(Service):
    """Counts what happens (an ``interfaces.SessionObserver`` and a ``measures.Measures``).

    As a service it measures the reactor's lag.

    Args:
        sessions: the live ones.
        pending: the connections that are nobody's yet, by what listens for them.
        limits: the configured numbers by option; 0 for none.
        clock: runs the measurement of the lag.

    Attributes:
        collected: everything, for ``metrics.exposition``.
    """

    def __init__(
        self,
        sessions: Registry,
        pending: Mapping[str, PendingConnections],
        limits: dict[str, float],
        clock: IReactorTime,
    ) -> None:
        self.collected = CollectorRegistry()
        self._clock = clock
        self._lag = LoopingCall(self._measure_lag)
        self._lag.clock = clock
        self._expected = 0.0
        registry = self.collected
        Info("vncproxy", "The gateway.", registry=registry).info({"version": __version__})
        ProcessCollector(registry=registry)
        self._live = _LiveSessions(sessions)
        registry.register(self._live)
        registry.register(PendingMetrics(pending))
        self._started = Counter("vncproxy_sessions_started", "Sessions begun.", registry=registry)
        self._ended = Counter(
            "vncproxy_sessions_ended", "Sessions ended, by why.", ["reason"], registry=registry
        )
        self._refused = Counter(
            "vncproxy_refusals", "Requests refused, by why.", ["reason"], registry=registry
        )
        self._seconds = Histogram(
            "vncproxy_session_seconds",
            "How long sessions lasted.",
            buckets=_LASTING_S,
            registry=registry,
        )
        self._phases = Histogram(
            "vncproxy_setup_seconds",
            "How long the phases of a console's opening took, where they went well.",
            ["phase"],
            buckets=_QUICK_S,
            registry=registry,
        )
        self._calls = Histogram(
            "vncproxy_call_seconds",
            "How long calls to the database, and to nova by RPC, took.",
            ["service"],
            buckets=_QUICK_S,
            registry=registry,
        )
        self._failed_calls = Counter(
            "vncproxy_call_failures",
            "Such calls without an answer.",
            ["service"],
            registry=registry,
        )
        self._lags = Histogram(
            "vncproxy_reactor_lag_seconds",
            "How late the reactor was for a call once a second.",
            buckets=_QUICK_S,
            registry=registry,
        )
        self._audit_lost = Counter(
            "vncproxy_audit_lines_lost",
            "Lines of the audit log that could not be written.",
            registry=registry,
        )
        self._state = Enum(
            "vncproxy_worker_state",
            "What this process does.",
            states=list(_STATES),
            registry=registry,
        )
        limit = Gauge(
            "vncproxy_limit", "The configured limits; 0: none.", ["option"], registry=registry
        )
        for option, number in limits.items():
            limit.labels(option).set(number)
        for ending in Ending:  # a rate needs the 0 before the first one
            self._refused.labels(ending.value)
            self._ended.labels(ending.value)
        for service in get_args(measures.Service):
            self._failed_calls.labels(service)

    @override
    def startService(self) -> None:
        super().startService()
        self._expected = self._clock.seconds()
        self._lag.start(_LAG_EVERY_S, now=False)
        self.state("running")

    @override
    def stopService(self) -> None:
        super().stopService()
        self._lag.stop()

    def state(self, state: str) -> None:
        """Say what this process does: running, draining or stopping."""
        self._state.state(state)

    def _measure_lag(self) -> None:
        now = self._clock.seconds()
        self._lags.observe(max(0.0, now - self._expected - _LAG_EVERY_S))
        self._expected = now

    def started(self, facts: SessionFacts) -> None:
        """Count a session."""
        self._started.inc()

    def ended(self, facts: SessionFacts) -> None:
        """Count an end, and what the session has carried."""
        self._ended.labels((facts.ending or Ending.INTERNAL).value).inc()
        self._seconds.observe(facts.seconds)
        self._live.add_ended(facts)

    def refused(self, facts: SessionFacts) -> None:
        """Count a refusal."""
        self._refused.labels((facts.ending or Ending.INTERNAL).value).inc()

    def took(self, phase: measures.Phase, seconds: float) -> None:
        """Keep how long a phase took."""
        self._phases.labels(phase).observe(seconds)

    def called(self, service: measures.Service, seconds: float, failed: bool) -> None:
        """Keep how long a call took."""
        self._calls.labels(service).observe(seconds)
        if failed:
            self._failed_calls.labels(service).inc()

    def audit_line_lost(self) -> None:
        """Count a line of the audit log that could not be written."""
        self._audit_lost.inc()


class _LiveSessions(Collector):
    """What is read from the live sessions when somebody asks, so that it costs nothing before."""

    def __init__(self, sessions: Registry) -> None:
        self._sessions = sessions
        self._to_client = 0
        self._to_server = 0

    def add_ended(self, facts: SessionFacts) -> None:
        """Keep what a session has carried, which is about to leave the live ones."""
        self._to_client += facts.bytes_to_client
        self._to_server += facts.bytes_to_server

    @override
    def collect(self) -> Iterable[Metric]:
        live = [session for session in self._sessions if not session.refused]
        sessions = GaugeMetricFamily("vncproxy_sessions", "Sessions that live now.")
        sessions.add_metric([], len(live))
        yield sessions
        buffered = GaugeMetricFamily(
            "vncproxy_buffered_bytes", "Bytes of live sessions that a peer has not taken yet."
        )
        buffered.add_metric([], sum(session.buffered_bytes for session in live))
        yield buffered
        carried = CounterMetricFamily(
            "vncproxy_bytes", "Bytes carried, by direction.", labels=["to"]
        )
        to_client = sum(session.facts.bytes_to_client for session in live)
        to_server = sum(session.facts.bytes_to_server for session in live)
        carried.add_metric(["client"], self._to_client + to_client)
        carried.add_metric(["server"], self._to_server + to_server)
        yield carried
        refused = GaugeMetricFamily(
            "vncproxy_refusals_being_told", "Connections that hear in words why they are refused."
        )
        refused.add_metric([], self._sessions.refused)
        yield refused


class PendingMetrics(Collector):
    """Tells of the connections that are nobody's yet.

    Args:
        registers: of them, by what listens: consoles, api, metrics.
    """

    def __init__(self, registers: Mapping[str, PendingConnections]) -> None:
        self._registers = registers

    @override
    def collect(self) -> Iterable[Metric]:
        pending = GaugeMetricFamily(
            "vncproxy_unauthenticated_connections",
            "Connections that have shown no good token yet.",
            labels=["listeners"],
        )
        turned = CounterMetricFamily(
            "vncproxy_connections_turned_away",
            "Connections closed because too many had shown no good token.",
            labels=["listeners"],
        )
        bad = CounterMetricFamily(
            "vncproxy_bad_requests",
            "Requests refused because of their form, by the answer's status.",
            labels=["listeners", "status"],
        )
        for name, register in self._registers.items():
            pending.add_metric([name], len(register))
            turned.add_metric([name], register.turned_away)
            for status in BAD_STATUSES:  # a rate needs the 0 before the first one
                bad.add_metric([name, str(status)], register.bad_requests.by_status[status])
        return [pending, turned, bad]


def pending_metrics(registers: Mapping[str, PendingConnections]) -> CollectorRegistry:
    """Return the metrics of a process that serves no consoles."""
    collected = CollectorRegistry()
    collected.register(PendingMetrics(registers))
    return collected
