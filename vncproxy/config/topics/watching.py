"""What operators see of a running gateway: metrics and the audit log."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class Watching:
    """The values of these options of ``[vncproxy]``."""

    metrics_listen: str | None
    audit_log: str | None
    audit_required: bool


OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "metrics_listen",
        help="Twisted endpoint string of a listener that serves Prometheus' metrics at /metrics, "
        "to anyone who reaches it: `tcp:9101:interface=127.0.0.1`. The words `https:` (TLS only, "
        "by the consoles' certificates) and `haproxy:` stand before it as in `listen`. Needs "
        "vncproxy[metrics].",
    ),
    cfg.StrOpt(
        "audit_log",
        help="File of the audit log: a JSON object a line for each refusal, start and end of a "
        "session. Opened anew when it was moved, so that it can be rotated.",
    ),
    cfg.BoolOpt(
        "audit_required",
        default=False,
        help="Open no console while the audit log can't be written. Otherwise that is logged, and "
        "sessions go on.",
    ),
]

TOPIC = Topic("watching", "vncproxy", OPTIONS, Watching)
