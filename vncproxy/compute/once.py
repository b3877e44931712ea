"""Asking the compute driver where no gateway runs, as ``vncproxy check`` does."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from vncproxy.compute.drivers import driver_for
from vncproxy.compute.interface import ComputeDriver
from vncproxy.config.settings import Settings

T = TypeVar("T")


def ask_once(
    settings: Settings, question: Callable[[ComputeDriver], Coroutine[Deferred[Any], Any, T]]
) -> T | None:
    """Return the configured driver's answer, or None where none is configured.

    It runs a reactor of its own until then, so that the process's own stays unused.

    Raises:
        ConfigError: the driver can't be made.
        ComputeError: the question's.
    """
    reactor = SelectReactor()
    driver = driver_for(settings, reactor)
    if driver is None:
        return None
    outcome: list[T | Failure] = []

    def ask() -> None:
        answering = Deferred.fromCoroutine(question(driver))
        answering.addBoth(outcome.append).addBoth(lambda _done: reactor.stop())

    reactor.callWhenRunning(ask)
    reactor.run(installSignalHandlers=False)
    driver.stop()
    (answer,) = outcome
    if isinstance(answer, Failure):
        answer.raiseException()
    return answer
