"""What ``twistd vncproxy`` runs: reads the configuration and builds the service tree."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from twisted.application.service import IServiceCollection, MultiService, Service
from twisted.logger import ILogObserver
from twisted.python.components import Componentized
from twisted.python.usage import Options as UsageOptions
from typing_extensions import override

from vncproxy.config.read import CommandLine, ConfigError, read_settings
from vncproxy.config.settings import Settings
from vncproxy.logs import GatewayLog
from vncproxy.service import build
from vncproxy.steady import keep_steady

_PROGRAM = "twistd vncproxy"


class Options(UsageOptions):
    """The plugin's command line: all of it is oslo.config's to parse."""

    settings: Settings

    @override
    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        self.arguments = tuple(options or [])
        try:
            self.settings = read_settings(self.arguments, _PROGRAM)
        except ConfigError as error:
            _give_up(error)


def makeService(options: Options) -> Service:  # noqa: N802  twistd's name for it
    """Return the gateway that the command line and the configuration files describe."""
    from twisted.internet import reactor

    keep_steady(reactor)
    settings = options.settings
    twistds = options.parent["logfile"] if options.parent else None
    try:
        log = GatewayLog(
            settings.log_path or twistds, settings.default.use_json, settings.default.debug
        )
        gateway = build(
            settings,
            reactor,
            CommandLine(options.arguments, _PROGRAM, twistds),
            [log.part(twistds)],
        )
    except ConfigError as error:
        _give_up(error)
    root = LoggingService(log)
    gateway.setServiceParent(root)
    return root


class LoggingService(MultiService):
    """Makes an observer the log of the application that the service is put into."""

    def __init__(self, observer: ILogObserver) -> None:
        super().__init__()
        self._observer = observer

    @override
    def setServiceParent(self, parent: IServiceCollection) -> None:
        if isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)


def _give_up(error: ConfigError) -> NoReturn:
    print(f"vncproxy: {error}", file=sys.stderr)  # noqa: T201  the log is not open yet
    raise SystemExit(1) from error
