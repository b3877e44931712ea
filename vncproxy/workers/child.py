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
from vncproxy.limits.build import seats_of_a_process
from vncproxy.limits.shared import Shared, SharedLimits
from vncproxy.logs import GatewayLog
from vncproxy.reload import Part
from vncproxy.service import StopInTurn, build_worker, registry_of
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
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the configuration can be read again
    assignment = Assignment.read(ASSIGNMENT)
    importlib.import_module(assignment.reactor).install()
    from twisted.internet import reactor

    keep_steady(reactor)
    try:
        _start(assignment, reactor, _begin_log(assignment))
    except ConfigError as error:
        _log.critical("{error}", error=error)
        return UNFIT
    reactor.run()
    return 0


def _begin_log(assignment: Assignment) -> Part:
    default = assignment.settings.default
    twistds = assignment.command_line.log_path
    path = assignment.settings.log_path or twistds
    log = GatewayLog(path, default.use_json, default.debug, worker=assignment.number)
    globalLogBeginner.beginLoggingTo([log])
    return log.part(twistds)


def _start(assignment: Assignment, reactor: Any, follow_log: Part) -> None:  # noqa: ANN401
    settings = assignment.settings
    registry = registry_of(settings, reactor)
    watched = watching(settings, registry, reactor)
    reporter = Reporter(
        reactor,
        socket.socket(fileno=CHANNEL),
        registry,
        stop=lambda: signal.raise_signal(signal.SIGTERM),
        metrics=watched.exposition,
    )
    limits = SharedLimits(reporter.call, Shared.of(settings), seats_of_a_process(settings))
    endpoints = [
        inherited_endpoint(reactor, description, descriptor, reporter.ahead)
        for descriptor, description in enumerate(assignment.listeners, FIRST_LISTENER)
    ]
    worker = StopInTurn()
    worker.addService(reporter)
    read_again = assignment.command_line.read
    worker.addService(
        build_worker(
            settings, reactor, registry, endpoints, watched, limits, read_again, [follow_log]
        )
    )
    worker.privilegedStartService()
    worker.startService()
    reactor.callWhenRunning(reporter.enter, State.READY)
    if assignment.reloaded:
        reactor.callWhenRunning(signal.raise_signal, signal.SIGHUP)
    reactor.addSystemEventTrigger("before", "shutdown", reporter.enter, State.DRAINING)
    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)


if __name__ == "__main__":
    sys.exit(main())
