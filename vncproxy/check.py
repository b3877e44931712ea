"""Trying an installation: what `vncproxy check` does, and what it found."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from vncproxy.audit import AuditFile
from vncproxy.compute.interface import ComputeError
from vncproxy.compute.once import ask_once
from vncproxy.config.library import Library, library_for
from vncproxy.config.read import ConfigError
from vncproxy.config.report import report_on
from vncproxy.config.settings import Settings
from vncproxy.consoles import target_tls_of
from vncproxy.edge.certificates import ServedCertificate, TlsOptions, load_certificates
from vncproxy.edge.socket_mode import wider_mode
from vncproxy.edge.tls import SOON
from vncproxy.entrance import (
    api_listener,
    api_tls_options,
    console_listener,
    metrics_listener,
    tls_options,
    trusted_items,
)
from vncproxy.errors import GatewayError
from vncproxy.limits.build import most_descriptors, most_pending_of, most_sessions_of
from vncproxy.listener import ListenString, endpoint_from
from vncproxy.openstack.deployment import try_port_check
from vncproxy.reason import reason_of
from vncproxy.rfb.reader import TlsDemand
from vncproxy.rfb.security import methods_of
from vncproxy.target_rules import TargetRules
from vncproxy.targets_file import TargetsFile
from vncproxy.tokens.engine import left_out, open_database
from vncproxy.tokens.faults import shown
from vncproxy.tokens.private import exposures
from vncproxy.tokens.table import TokenTable
from vncproxy.tokens.uses import TokenUses


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried: what, whether it works, and what to do if not.

    Attributes:
        warning: whether it works, and should be looked at all the same.
    """

    subject: str
    ok: bool
    text: str
    warning: bool = False

    @property
    def word(self) -> str:
        """The finding in a word."""
        return "WARN" if self.ok and self.warning else "ok" if self.ok else "FAIL"


def check(settings: Settings) -> list[Finding]:
    """Try everything a gateway with these settings needs."""
    return [
        Finding("configuration", True, "read"),
        Finding("processes", True, _processes(settings.processes.workers)),
        *_all_of("listeners", lambda: _listeners(settings)),
        *_all_of("sockets", lambda: _wide_sockets(settings)),
        *_all_of("certificate", lambda: _certificates(settings)),
        _tried("balancers", lambda: ", ".join(trusted_items(settings)) or "none are trusted"),
        _tried("VNC servers", lambda: _towards_servers(settings)),
        _tried("targets", lambda: _targets(settings)),
        _tried("database", lambda: _database(settings)),
        *_all_of("state_path", lambda: _exposures(settings)),
        _tried("port check", lambda: try_port_check(settings)),
        _tried("limits", lambda: _limits(settings)),
        _tried("audit log", lambda: _audit_log(settings.watching.audit_log)),
        _tried("metrics", lambda: _metrics(settings)),
        *_all_of("pages", lambda: _libraries(settings)),
        *_all_of("servers", lambda: _servers(settings)),
        *([_tried("console API", lambda: _api(settings))] if settings.api.api_listen else []),
    ]


def check_options(sources: Sequence[str]) -> list[Finding]:
    """Say of each option in the files whether it was understood, is ignored, or is wrong.

    Args:
        sources: ``--config-file`` and ``--config-dir`` arguments.

    Raises:
        ConfigError: a file can't be read.
    """
    return [
        Finding(found.option, found.state != "wrong", f"{found.state}: {found.text}")
        for found in report_on(sources, "vncproxy")
    ]


def _processes(workers: int) -> str:
    return f"{workers} workers and their parent" if workers > 1 else "one"


def _listeners(settings: Settings) -> Iterator[Finding]:
    for front in settings.served:
        for description in front.listeners:
            subject = f"{front.kind.console_type} listener"
            yield _tried(subject, partial(_listener, settings, description, front.option))


def _listener(settings: Settings, description: str, option: str) -> str:
    console_listener(settings, description, option)
    return _endpoint(description, option)


def _endpoint(description: str, option: str) -> str:
    from twisted.internet import reactor

    if ListenString.parse(description).endpoint.startswith("systemd:"):
        return f"{description}, whose socket only systemd has"
    try:
        endpoint_from(reactor, description)
    except ConfigError as error:
        raise ConfigError(f"{description}: {error.__cause__}; see {option}") from error
    return description


def _wide_sockets(settings: Settings) -> Iterator[Finding]:
    """Give the listeners to which every user of this machine may connect."""
    listeners = [(listen, front.option) for front in settings.served for listen in front.listeners]
    listeners += [(listen, "[vncproxy] api_listen") for listen in settings.api.api_listen]
    listeners.append((settings.watching.metrics_listen or "", "[vncproxy] metrics_listen"))
    for description, option in listeners:
        mode = wider_mode(ListenString.parse(description).endpoint)
        if mode is not None:
            text = f"{description}: mode {mode} lets every user of this machine connect; write 660"
            yield Finding(option, True, text, warning=True)


def _certificates(settings: Settings) -> Iterator[Finding]:
    if settings.tls:
        yield from _certificates_of("certificate", tls_options(settings))
    else:
        yield Finding(
            "certificate", True, f"none: {settings.default.cert} does not exist, so no TLS"
        )
    if settings.api.api_listen and settings.api.api_cert:
        yield from _certificates_of("API certificate", api_tls_options(settings))


def _certificates_of(subject: str, options: TlsOptions) -> Iterator[Finding]:
    try:
        loaded = load_certificates(options)
    except ConfigError as error:
        yield Finding(subject, False, str(error))
        return
    for certificate in loaded:
        yield _tried(subject, partial(_time_left, certificate))


def _time_left(certificate: ServedCertificate) -> str:
    left = certificate.ends - datetime.datetime.now(datetime.UTC)
    if left < datetime.timedelta():
        raise ConfigError(f"{certificate.path} expired on {certificate.ends:%Y-%m-%d}; renew it")
    soon = ", soon over: renew it" if left < SOON else ""
    return f"{certificate.path} is good until {certificate.ends:%Y-%m-%d}{soon}"


def _towards_servers(settings: Settings) -> str:
    """Load what TLS with VNC servers needs, where a scheme needs it, and the file of targets."""
    methods = methods_of(settings.vnc.auth_schemes)
    if any(method.subtype and method.tls is TlsDemand.X509 for method in methods):
        target_tls_of(settings).client("localhost", TlsDemand.X509)
    TargetsFile(settings.targets.targets_file).look()
    return "security " + ", ".join(method.name for method in methods)


def _database(settings: Settings) -> str:
    engine = open_database(settings)
    table = TokenTable(engine, time.time)
    if settings.keeps_tokens:
        table.create()
    table.check()
    TokenUses(engine, time.time, settings.limits.single_use, 0).ready()
    return "; ".join([shown(engine.url), *left_out(settings)])


def _exposures(settings: Settings) -> Iterator[Finding]:
    if settings.keeps_tokens:
        for line in exposures(settings.embedded_database):
            yield Finding("state_path", True, line, warning=True)


def _api(settings: Settings) -> str:
    """Read what says who may ask the console API, and its certificates."""
    from twisted.internet import reactor

    from vncproxy.console_api.service import doors_of

    if not settings.compute.compute_driver:
        raise ConfigError("it needs to know servers; set [vncproxy] compute_driver")
    doors_of(settings, reactor)
    for description in settings.api.api_listen:
        api_listener(settings, description)
        _endpoint(description, "[vncproxy] api_listen")
    return f"lets in by {', '.join(settings.api.api_auth)}"


def _targets(settings: Settings) -> str:
    limits = settings.limits
    TargetRules(limits.target_networks, limits.target_ports)
    sockets = "any UNIX socket" if settings.keeps_tokens else "no UNIX socket"
    anywhere = f"any address but those where no console is, {sockets}"
    networks = ", ".join(limits.target_networks or ()) or anywhere
    return f"{networks}; ports {', '.join(limits.target_ports or ()) or 'any'}"


def _limits(settings: Settings) -> str:
    descriptors = most_descriptors()
    most = most_sessions_of(settings, descriptors)
    needed = 2 * most
    if most and needed > descriptors:
        raise ConfigError(
            f"[vncproxy] max_sessions: {most} sessions need {needed} open files, and the limit is "
            f"{descriptors}; raise it (LimitNOFILE, ulimit -n)"
        )
    pending = most_pending_of(settings, descriptors) or "any number"
    return f"{most or 'any number of'} sessions, {pending} before, with {descriptors} open files"


def _audit_log(path: str | None) -> str:
    if path is None:
        return "none"
    AuditFile(path).close()
    return path


def _metrics(settings: Settings) -> str:
    description = settings.watching.metrics_listen
    if description is None:
        return "none"
    if find_spec("prometheus_client") is None:
        raise ConfigError("prometheus-client is not installed; pip install 'vncproxy[metrics]'")
    metrics_listener(settings, description)
    return _endpoint(description, "[vncproxy] metrics_listen")


def _libraries(settings: Settings) -> Iterator[Finding]:
    for front in settings.served:
        yield _library(library_for(settings, front.kind))


def _library(library: Library) -> Finding:
    nothing_wanted = library.optional and library.root is None
    ok = library.fault is None or nothing_wanted
    return Finding(library.name, ok, library.fault or str(library))


def _servers(settings: Settings) -> Iterator[Finding]:
    """Ask the compute driver for its servers, where there is one."""
    try:
        listing = ask_once(settings, lambda driver: driver.list_servers())
    except ConfigError as error:
        yield Finding("servers", False, str(error))
        return
    if listing is not None:
        driver = settings.compute.compute_driver
        yield Finding("servers", True, f"{len(listing.servers)}, says {driver}")
        yield from (
            Finding("servers", False, f"{fault.host}: {fault.reason}") for fault in listing.faults
        )


def _tried(subject: str, attempt: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, True, attempt())
    except Exception as error:  # of any library; the other findings are wanted all the same
        return _failed(subject, error)


def _all_of(subject: str, attempt: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Give the findings of an attempt, and one more where it fails."""
    try:
        yield from attempt()
    except Exception as error:  # as above
        yield _failed(subject, error)


def _failed(subject: str, error: Exception) -> Finding:
    ours = isinstance(error, ConfigError | GatewayError | ComputeError | OSError)
    return Finding(subject, False, str(error) if ours else reason_of(error))
