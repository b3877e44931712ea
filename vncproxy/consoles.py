"""What serves browsers in one process: a site for each kind of console, and what they share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger
from twisted.web.resource import Resource

from vncproxy.compute.interface import ComputeDriver
from vncproxy.config.library import Library, library_for
from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings
from vncproxy.config.topics.times import Times
from vncproxy.database import Database
from vncproxy.entrance import Entrance
from vncproxy.interfaces import Leg, Limits, Tap
from vncproxy.kinds import NOVNC, SERIAL, SPICE, Kind
from vncproxy.limits.build import most_descriptors, most_pending_of
from vncproxy.listener import Listener
from vncproxy.model import Grant, SessionFacts
from vncproxy.observers import Observers
from vncproxy.opening import RawOpening
from vncproxy.openstack.deployment import grant_checks
from vncproxy.readiness import Readiness
from vncproxy.registry import Registry
from vncproxy.reload import Part
from vncproxy.resolver import Resolver
from vncproxy.revocation import RevocationCheck
from vncproxy.rfb.negotiator import Negotiator
from vncproxy.rfb.reader import TlsDemand
from vncproxy.rfb.security import methods_of
from vncproxy.session import SessionPolicy, endless
from vncproxy.session_log import SessionLog
from vncproxy.session_times import SessionTimes, TimeLimits
from vncproxy.splice.engine import Engine
from vncproxy.splice.portable import Splice
from vncproxy.supervision import Hurried
from vncproxy.target import Dialer
from vncproxy.target_rules import TargetRules
from vncproxy.target_tls import TargetTls, TlsFiles
from vncproxy.targets_file import TargetsFile
from vncproxy.timed import TimedCheck, TimedStore
from vncproxy.watching import Watching
from vncproxy.web.admission import Admission
from vncproxy.web.gate import Gate
from vncproxy.web.health import Healthz, Readyz
from vncproxy.web.origin import OriginRules
from vncproxy.web.site import ConsoleSite, page_tree, serial_pages, spice_pages
from vncproxy.web.upgrade import ConsoleUpgrade, Verdict
from vncproxy.web.websocket import BrowserFactory

_log = Logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the consoles of a process stand on.

    Attributes:
        reactor: runs it all.
        database: of tokens.
        driver: knows servers; None where none is configured.
        registry: will know the sessions.
        watched: who watches the sessions.
        limits: what clients may have at once.
        entrance: stands before the listeners.
    """

    reactor: Any  # all of its interfaces
    database: Database
    driver: ComputeDriver | None
    registry: Registry
    watched: Watching
    limits: Limits
    entrance: Entrance


class Consoles:
    """The sites of a process, and what of them signals concern.

    Args:
        settings: of the gateway.
        around: what they stand on.

    Attributes:
        hurried: what a second signal to stop hastens.

    Raises:
        ConfigError: an option can't be followed.
    """

    def __init__(self, settings: Settings, around: Surroundings) -> None:
        self._settings = settings
        self._around = around
        cells = around.database.cells
        around.database.store.measures = around.watched.measures
        self._checks = grant_checks(settings, around.reactor, cells, around.driver)
        metrics = around.watched.metrics
        self._readiness = Readiness(
            cells.check,
            around.limits.have_room,
            around.reactor,
            settings.stopping.drain_notice,
            drains=partial(metrics.state, "draining") if metrics else _nobody_is_told,
        )
        self._hardening = around.entrance.hardening(around.watched.pending)
        self._origins = OriginRules(settings.console.allowed_origins)
        admissions = {front.kind: self._admission(front.kind) for front in settings.served}
        policy = session_policy(settings, around, list(admissions.values()))
        self._sites = [
            (front, self._site(front.kind, admissions[front.kind], policy))
            for front in settings.served
        ]
        self.hurried: list[Hurried] = [
            self._readiness,
            around.watched.pending,
            around.registry,
        ]

    def _admission(self, kind: Kind) -> Admission:
        around = self._around
        measures = around.watched.measures
        gate = Gate(
            TimedStore(around.database.cells, measures, around.reactor),
            self._origins,
            [kind.console_type],
            [
                *(TimedCheck(it, measures, around.reactor) for it in around.watched.checks),
                *(TimedCheck(it, measures, around.reactor, "rpc") for it in self._checks),
            ],
        )
        ours = {"'self'", "'none'"}
        framed = any(it not in ours for it in self._settings.listening.frame_ancestors)
        return Admission(gate, around.limits, around.database.uses, time.time, framed)

    def _site(self, kind: Kind, admission: Admission, policy: SessionPolicy) -> ConsoleSite:
        settings, around = self._settings, self._around
        if kind.speaks_rfb:
            opener = partial(Negotiator, auth_schemes=settings.vnc.auth_schemes)
            policy = replace(policy, opener=opener)
        websockets = BrowserFactory(
            settings.sessions.max_message_size,
            settings.sessions.heartbeat_interval,
            around.reactor,
            kind.takes_text,
        )
        most_told = most_pending_of(settings, most_descriptors())
        site = ConsoleSite(
            pages=_pages(settings, kind),
            upgrade=ConsoleUpgrade(admission, policy, around.registry, websockets, most_told),
            verdict=Verdict(admission, policy),
            hardening=self._hardening,
            frame_ancestors=settings.listening.frame_ancestors,
        )
        site.resource.putChild(b"healthz", Healthz())
        site.resource.putChild(b"readyz", Readyz(self._readiness))
        return site

    def add_to(self, tree: MultiService, endpoints: Sequence[IStreamServerEndpoint]) -> None:
        """Add the services, in the order of their start.

        Args:
            tree: stops them in turn, the last first.
            endpoints: of the listeners, in the settings' order.
        """
        _say_if_cert_is_missing(self._settings)
        if self._around.watched.metrics is not None:
            tree.addService(self._around.watched.metrics)
        tree.addService(self._around.database.cells)
        for check in self._checks:
            if isinstance(check, Service):
                tree.addService(check)
        tree.addService(self._around.registry)
        self._add_what_ends_sessions(tree)
        left = iter(endpoints)
        tree.addService(self._around.watched.pending)
        for front, site in self._sites:
            _say_where_library_is(library_for(self._settings, front.kind))
            for description in front.listeners:
                factory = self._around.entrance.before_consoles(site, description, front.option)
                tree.addService(Listener(description, next(left), factory, front.options))
        for watch in self._around.entrance.watches():
            tree.addService(watch)
        tree.addService(self._readiness)

    def _add_what_ends_sessions(self, tree: MultiService) -> None:
        around, times = self._around, self._settings.times
        interval_s = self._settings.sessions.revoke_check
        if interval_s:
            cells = around.database.cells
            tree.addService(
                RevocationCheck(around.registry, cells, interval_s, around.reactor, time.time)
            )
        limits = TimeLimits(
            times.client_idle_timeout, times.server_idle_timeout, times.max_session_time
        )
        if limits:
            tree.addService(SessionTimes(around.registry, limits, around.reactor))

    def reload_parts(self) -> list[Part]:
        """Return what a reload can change."""
        registry = self._around.registry
        return [
            *self._around.entrance.reload_parts(),
            Part(
                ("[console] allowed_origins",),
                lambda new: self._origins.allow(new.console.allowed_origins),
            ),
            Part(
                ("[vncproxy] drain_timeout",),
                lambda new: setattr(registry, "drain_timeout_s", new.stopping.drain_timeout),
            ),
        ]


def session_policy(
    settings: Settings, around: Surroundings, admissions: Sequence[Admission]
) -> SessionPolicy:
    """Return what the sessions of every kind of console have in common."""
    return SessionPolicy(
        clock=around.reactor,
        dialer=Dialer(
            around.reactor,
            settings.sessions.connect_timeout,
            target_tls_of(settings),
            TargetsFile(settings.targets.targets_file),
            Resolver(around.reactor),
            TargetRules(settings.limits.target_networks, settings.limits.target_ports),
        ),
        opener=RawOpening,
        negotiation_timeout_s=settings.sessions.negotiation_timeout,
        observer=Observers([*admissions, SessionLog(), *around.watched.observers]),
        measures=around.watched.measures,
        splice=_splice(settings.sessions.splice, around.reactor),
        lifetime_s=_rest_of_token if settings.consoleauth.enforce_session_timeout else endless,
    )


def target_tls_of(settings: Settings) -> TargetTls:
    """Return what makes the TLS connections to VNC servers.

    Raises:
        ConfigError: a security scheme can't do what another option demands.
    """
    anonymous = [
        method.name
        for method in methods_of(settings.vnc.auth_schemes)
        if method.tls is TlsDemand.ANONYMOUS
    ]
    if settings.targets.target_identity == "require" and anonymous:
        raise ConfigError(
            f"[vncproxy] target_identity: a server has no certificate with {anonymous[0]}, so none "
            "can be required; take it out of [vnc] auth_schemes"
        )
    files = TlsFiles(
        settings.vnc.vencrypt_ca_certs,
        settings.vnc.vencrypt_client_cert,
        settings.vnc.vencrypt_client_key,
    )
    return TargetTls(files, settings.targets.target_identity)


def _nobody_is_told() -> None:
    """Do nothing: there are no metrics."""


def _rest_of_token(grant: Grant) -> float:
    return grant.expires - time.time()


def _splice(
    choice: str,
    reactor: Any,  # noqa: ANN401
) -> Callable[[Leg, Leg, SessionFacts, Tap | None], Splice]:
    if choice == "portable" or (choice == "auto" and not Engine.is_possible(reactor)):
        return Splice
    if not Engine.is_possible(reactor):
        raise ConfigError("[vncproxy] splice: there is no epoll here; choose auto or portable")
    return Engine(reactor).splice


def _pages(settings: Settings, kind: Kind) -> Resource:
    library = library_for(settings, kind).root
    ancestors = settings.listening.frame_ancestors
    if kind is NOVNC:
        return page_tree(library, ancestors, _told_limits(settings.times))
    return {SERIAL: serial_pages, SPICE: spice_pages}[kind](library, ancestors)


def _told_limits(times: Times) -> Mapping[str, float]:
    """Return what the page must know to warn of an end."""
    return {
        "client_idle": times.client_idle_timeout,
        "server_idle": times.server_idle_timeout,
        "session": times.max_session_time,
        "warning": times.end_warning,
    }


def _say_where_library_is(library: Library) -> None:
    if library.fault is None:
        _log.info("{name} is served from {where}", name=library.name, where=str(library))
    elif not library.optional:
        _log.warn("{fault}", fault=library.fault)


def _say_if_cert_is_missing(settings: Settings) -> None:
    cert = settings.default.cert
    if settings.cert is None and cert not in ("self.pem", "none"):
        _log.warn("[DEFAULT] cert: {cert} does not exist, so it is not served", cert=cert)
