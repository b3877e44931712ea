"""The import rule: every module imports only from the layers below its own."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_PACKAGE = Path(__file__).parents[1] / "vncproxy"
# From the lowest to the highest; within a layer, in the order in which they may import each other.
_LAYERS = [
    ["kinds", "model", "errors", "interfaces", "openssl", "measures", "patterns", "redaction"],
    ["reason"],
    ["host_port"],
    ["config.topic"],
    ["config.topics.api", "config.topics.compute", "config.topics.keystone"],
    ["config.topics.console", "config.topics.consoleauth", "config.topics.database"],
    ["config.topics.default", "config.topics.embedded", "config.topics.listening"],
    ["config.topics.api_database", "config.topics.messaging", "config.topics.openstack"],
    ["config.topics.processes"],
    ["config.topics.tls", "config.topics.balancers", "config.topics.stopping"],
    ["config.topics.sessions", "config.topics.targets", "config.topics.vnc"],
    ["config.topics.serial_console", "config.topics.spice", "config.topics.fronts"],
    ["config.topics.limits", "config.topics.times", "config.topics.watching"],
    ["config.endpoints", "config.front", "config.options", "config.settings"],
    ["config.novnc", "config.library", "config.ignored", "config.read", "config.report"],
    ["limits.address", "limits.rate", "limits.failures", "limits.seats", "limits.turns"],
    ["limits.node", "limits.shared", "limits.build"],
    ["rfb.reader", "rfb.messages", "rfb.dialogue", "rfb.security", "rfb.handshake"],
    ["threads"],
    ["tokens.faults", "tokens.psycopg_deadline", "tokens.driver"],
    ["tokens.schema", "tokens.access_url", "tokens.sealed", "tokens.table", "tokens.uses"],
    ["tokens.private", "tokens.sql", "tokens.engine", "tokens.issue"],
    [
        "compute.interface",
        "compute.lookup",
        "compute.threads",
        "compute.together",
        "compute.listening",
    ],
    ["compute.domain_xml", "compute.qmp_talk", "compute.qmp_answers"],
    ["compute.inventory_file", "compute.inventory"],
    ["compute.libvirt_connection", "compute.libvirt_host", "compute.libvirt"],
    ["compute.qmp"],
    ["compute.drivers", "compute.once", "compute.port_check"],
    ["openstack.cell_url", "openstack.schema", "openstack.versions", "openstack.topics"],
    ["openstack.cell_tables", "openstack.request_context", "openstack.bus", "openstack.oslo_bus"],
    ["openstack.cells", "openstack.port_check", "openstack.deployment"],
    ["splice.producer", "splice.frames", "splice.last_words", "splice.wire"],
    ["splice.portable", "splice.linger"],
    ["splice.detour", "splice.direct", "splice.engine", "opening", "rfb.negotiator"],
    ["connect", "target_tls", "targets_file", "target_rules", "target_address"],
    ["resolver", "target_socket", "target"],
    [
        "edge.socket_mode",
        "edge.shared_port",
        "edge.networks",
        "edge.proxy_header",
        "edge.forwarded",
        "edge.key_updates",
        "edge.certificates",
        "edge.client_identity",
        "edge.tls",
    ],
    ["edge.quiet_log", "edge.bad_requests", "edge.pending", "edge.first_byte", "listener"],
    ["session", "session_log", "observers", "registry", "revocation", "readiness"],
    ["session_times", "audit", "timed", "metrics.node", "metrics.exposition"],
    ["web.headers", "web.authority", "web.origin", "web.request"],
    ["web.answers", "web.inline_hashes", "web.directory", "web.assets"],
    ["web.forwarding", "web.gate"],
    ["web.server", "web.resume", "web.admission", "web.handover"],
    ["web.intake", "web.shed", "web.heartbeat", "web.websocket"],
    ["web.upgrade", "web.health", "web.site"],
    ["console_api.faults", "console_api.versions", "console_api.schemas"],
    ["console_api.queries"],
    [
        "console_api.callers",
        "console_api.pace",
        "console_api.servers",
        "console_api.lookup",
    ],
    ["console_api.callers_file", "console_api.keystone"],
    ["console_api.look_ups", "console_api.doors"],
    ["console_api.consoles", "console_api.call", "console_api.api"],
    ["console_api.site", "console_api.service"],
    ["demo.keys", "demo.pixels", "demo.screen", "demo.rfb_server", "demo.service"],
    ["reload", "logs", "systemd", "signals"],
    ["entrance", "supervision", "watching", "steady"],
    ["workers.back_off", "workers.commands", "workers.assignment", "workers.sockets"],
    ["workers.place", "workers.parent", "workers.launch", "workers.reporter"],
    ["database", "consoles", "service", "workers.child", "check"],
    ["cli_verbs", "cli_consoles", "cli_callers"],
    ["tap", "cli"],
]
_PURE = {
    "kinds",
    "model",
    "errors",
    "reason",
    "openssl",
    "patterns",
    "redaction",
    "host_port",
    "edge.socket_mode",
    "edge.networks",
    "edge.proxy_header",
    "edge.forwarded",
    "edge.certificates",
    "edge.client_identity",
    "rfb.reader",
    "splice.frames",
    "rfb.messages",
    "rfb.dialogue",
    "rfb.security",
    "rfb.handshake",
    "compute.interface",
    "compute.lookup",
    "compute.listening",
    "compute.domain_xml",
    "compute.qmp_talk",
    "compute.qmp_answers",
    "compute.inventory_file",
    "console_api.faults",
    "console_api.versions",
    "console_api.schemas",
    "console_api.queries",
    "console_api.callers",
    "console_api.servers",
    "console_api.lookup",
    "connect",
    "targets_file",
    "tokens.private",
    "tokens.sealed",
    "web.authority",
    "web.origin",
    "web.inline_hashes",
    "web.directory",
    "demo.keys",
    "demo.pixels",
    "demo.screen",
    "tokens.table",
    "tokens.schema",
    "tokens.access_url",
    "tokens.issue",
    "workers.back_off",
    "tokens.uses",
    "target_rules",
    "limits.address",
    "limits.rate",
    "limits.seats",
    "openstack.cell_url",
    "openstack.schema",
    "openstack.versions",
    "openstack.topics",
    "openstack.cell_tables",
    "openstack.request_context",
    "openstack.bus",
    "openstack.oslo_bus",
}


def imports_of(module: str) -> set[str]:
    """Return what a module imports, wherever in it; our own modules without the package's name."""
    path = _PACKAGE / (module.replace(".", "/") + ".py")
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {
        name
        for full in found
        if full.startswith("vncproxy.")
        for name in (
            full.removeprefix("vncproxy."),
            full.removeprefix("vncproxy.").rpartition(".")[0],
        )
    }
    return ours | {full.partition(".")[0] for full in found}


class LayeringTests(SynchronousTestCase):
    def test_every_module_has_its_place(self) -> None:
        """The list of layers is complete."""
        listed = [module for layer in _LAYERS for module in layer]
        paths = [path.relative_to(_PACKAGE) for path in _PACKAGE.rglob("*.py")]
        modules = {".".join(path.with_suffix("").parts) for path in paths}
        self.assertEqual(sorted(listed), sorted(m for m in modules if not m.endswith("__init__")))

    def test_imports_point_downwards(self) -> None:
        """No module imports one that stands behind it, so there are no circles."""
        seen: set[str] = set()
        everything = {module for layer in _LAYERS for module in layer}
        for layer in _LAYERS:
            for module in layer:
                upward = (imports_of(module) & everything) - seen
                self.assertEqual(upward, set(), f"{module} imports upwards")
                seen.add(module)

    def test_pure_modules(self) -> None:
        """Protocol knowledge does not know Twisted."""
        for module in _PURE:
            self.assertNotIn("twisted", imports_of(module), module)
