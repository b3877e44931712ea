"""What of the settings' metrics and audit log a process has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorTime

from vncproxy.audit import Audit, AuditFile
from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings
from vncproxy.edge.pending import PendingConnections
from vncproxy.entrance import Entrance
from vncproxy.interfaces import GrantCheck, SessionObserver
from vncproxy.limits.build import most_pending_of, most_sessions_of, use_all_descriptors
from vncproxy.listener import Listener, endpoint_from
from vncproxy.measures import NO_MEASURES, Measures
from vncproxy.observers import HarmlessMeasures
from vncproxy.registry import Registry
from vncproxy.web.health import Healthz
from vncproxy.web.server import HardenedSite

if TYPE_CHECKING:
    from vncproxy.metrics.node import NodeMetrics

_NEEDS_EXTRA = "[vncproxy] metrics_listen: needs prometheus-client; pip install 'vncproxy[metrics]'"


@dataclass(slots=True)
class Watching:
    """Who watches the sessions of this process.

    Attributes:
        pending: the connections without a session.
        observers: are told of their edges.
        checks: must hold before one begins.
        measures: is told how long things take.
        metrics: of this process, where metrics are on.
    """

    pending: PendingConnections
    observers: list[SessionObserver] = field(default_factory=list)
    checks: list[GrantCheck] = field(default_factory=list)
    measures: Measures = NO_MEASURES
    metrics: NodeMetrics | None = None

    def exposition(self) -> bytes:
        """Return the metrics of this process in Prometheus' text form."""
        from vncproxy.metrics.exposition import exposition

        return exposition(self.metrics.collected) if self.metrics is not None else b""


def watching(
    settings: Settings,
    registry: Registry,
    clock: Any,  # noqa: ANN401  the reactor
    beside: Mapping[str, PendingConnections] = MappingProxyType({}),
) -> Watching:
    """Return who watches, as the settings say.

    Args:
        settings: say who.
        registry: knows the sessions.
        clock: runs the measurements.
        beside: the pending connections of what this process serves besides consoles.

    Raises:
        ConfigError: the audit log can't be opened, or prometheus-client is not installed.
    """
    found = Watching(PendingConnections(_most_pending(settings), clock))
    options = settings.watching
    if options.metrics_listen:
        try:
            from vncproxy.metrics.node import NodeMetrics
        except ImportError as error:
            raise ConfigError(_NEEDS_EXTRA) from error
        numbers = _numbers(settings)
        pending = {"consoles": found.pending, **beside}
        found.metrics = NodeMetrics(registry, pending, numbers, clock)
        found.measures = HarmlessMeasures(found.metrics)
        found.observers.append(found.metrics)
    if options.audit_log:
        lost = found.metrics.audit_line_lost if found.metrics else _nobody_counts
        file = AuditFile(options.audit_log)
        audit = Audit(file.append, time.time, lost, options.audit_required)
        found.observers.append(audit)
        if options.audit_required:
            found.checks.append(audit)
    return found


def pending_beside(settings: Settings, clock: IReactorTime) -> dict[str, PendingConnections]:
    """Return registers of pending connections for API and metrics, where these are served.

    Each has its own, so that a flood of one closes no connection of another.
    """
    served = {"api": settings.api.api_listen, "metrics": settings.watching.metrics_listen}
    most = _most_pending(settings)
    return {name: PendingConnections(most, clock) for name, listen in served.items() if listen}


def _most_pending(settings: Settings) -> int:
    return most_pending_of(settings, use_all_descriptors())


def metrics_listener(
    settings: Settings,
    reactor: Any,  # noqa: ANN401
    entrance: Entrance,
    pending: PendingConnections,
    render: Callable[[], Deferred[bytes]],
) -> Service:
    """Return what serves the metrics that ``render`` returns.

    Args:
        settings: say where.
        reactor: listens.
        entrance: stands before it.
        pending: bounds its connections.
        render: returns the metrics' text.

    Raises:
        ConfigError: ``[vncproxy] metrics_listen`` is no endpoint.
    """
    try:
        from vncproxy.metrics.exposition import metrics_root
    except ImportError as error:
        raise ConfigError(_NEEDS_EXTRA) from error
    description = settings.watching.metrics_listen or ""
    option = "[vncproxy] metrics_listen"
    endpoint = endpoint_from(reactor, description, option)
    root = metrics_root(render, reactor)
    root.putChild(b"healthz", Healthz())
    site = HardenedSite(root, entrance.hardening(pending))
    factory = entrance.before_metrics(site, description)
    return Listener(description, endpoint, factory, option)


def rendered(watched: Watching) -> Callable[[], Deferred[bytes]]:
    """Return what renders the metrics of a gateway that is one process."""
    return partial(execute, watched.exposition)


def _numbers(settings: Settings) -> dict[str, float]:
    limits = settings.limits
    return {
        "connection_rate": limits.connection_rate,
        "failed_tokens": limits.failed_tokens,
        "max_unauthenticated": _most_pending(settings),
        "max_sessions": most_sessions_of(settings, use_all_descriptors()),
        "max_sessions_per_client": limits.max_sessions_per_client,
        "max_sessions_per_instance": limits.max_sessions_per_instance,
        "max_sessions_per_token": limits.max_sessions_per_token,
    }


def _nobody_counts() -> None:
    """Do nothing: there are no metrics."""
