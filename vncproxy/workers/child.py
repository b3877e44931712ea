"""A worker: what ``python -m vncproxy.workers.child`` runs. Only the parent starts it."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
from typing import Any

from twisted.logger import Logger, globalLogBeginner

from vncproxy.config.read import ConfigError
from vncproxy.limits.build import node_limits
from vncproxy.limits.shared import SharedLimits, need_sharing
from vncproxy.logs import log_observer
from vncproxy.registry import Registry
from vncproxy.service import StopInTurn, build_worker
from vncproxy.steady import keep_steady
from vncproxy.watching import watching
from vncproxy.workers.assignment import ASSIGNMENT, CHANNEL, FIRST_LISTENER, Assignment
from vncproxy.workers.commands import State
from vncproxy.workers.place import UNFIT
from vncproxy.workers.reporter import Reporter
from vncproxy.workers.sockets import inherited_endpoint

_log = Logger()


def main() -> int:
    """Serve until the parent says so, or has gone; return the exit status."""
    os.setpgrp()  # a terminal's Ctrl-C is for the parent, which ends its workers in turn
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assignment = Assignment.read(ASSIGNMENT)
    importlib.import_module(assignment.reactor).install()
    from twisted.internet import reactor

    keep_steady(reactor)
    try:
        _begin_log(assignment)
        _start(assignment, reactor)
    except ConfigError as error:
        _log.critical("{error}", error=error)
        return UNFIT
    reactor.run()
    return 0


def _begin_log(assignment: Assignment) -> None:
    default = assignment.settings.default
    path = default.log_file or assignment.log_path
    observer = log_observer(path, default.use_json, default.debug, worker=assignment.number)
    globalLogBeginner.beginLoggingTo([observer])


def _start(assignment: Assignment, reactor: Any) -> None:  # noqa: ANN401  all of its interfaces
    settings = assignment.settings
    registry = Registry(reactor, settings.sessions.stop_timeout)
    watched = watching(settings, registry, reactor)
    reporter = Reporter(
        reactor,
        socket.socket(fileno=CHANNEL),
        registry,
        stop=lambda: signal.raise_signal(signal.SIGTERM),
        metrics=watched.exposition,
    )
    limits = (
        SharedLimits(reporter.call)
        if need_sharing(settings)
        else node_limits(settings, reactor.seconds)
    )
    endpoints = [
        inherited_endpoint(reactor, description, descriptor, reporter.ahead)
        for descriptor, description in enumerate(assignment.listeners, FIRST_LISTENER)
    ]
    worker = StopInTurn()
    worker.addService(reporter)
    worker.addService(build_worker(settings, reactor, registry, endpoints, watched, limits))
    worker.privilegedStartService()
    worker.startService()
    reactor.callWhenRunning(reporter.enter, State.READY)
    reactor.addSystemEventTrigger("before", "shutdown", reporter.enter, State.DRAINING)
    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)


if __name__ == "__main__":
    sys.exit(main())
