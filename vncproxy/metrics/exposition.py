"""Metrics as text, and the texts of several processes as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from typing_extensions import override

_BETWEEN_S = 0.2


def exposition(collected: CollectorRegistry) -> bytes:
    """Return a process' metrics in Prometheus' text form."""
    return generate_latest(collected)


def merged(expositions: Mapping[str, bytes]) -> bytes:
    """Return the metrics of all workers as one text.

    Args:
        expositions: of each worker, by its name, which becomes the label ``worker``.
    """
    registry = CollectorRegistry()
    registry.register(_Merged(expositions))
    return generate_latest(registry)


class _Merged(Collector):
    def __init__(self, expositions: Mapping[str, bytes]) -> None:
        self._expositions = expositions

    @override
    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for worker, text in self._expositions.items():
            for family in text_string_to_metric_families(text.decode()):
                known = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    labels = {**sample.labels, "worker": worker}
                    known.add_sample(sample.name, labels, sample.value)
        return families.values()


def metrics_root(render: Callable[[], Deferred[bytes]], clock: IReactorTime) -> Resource:
    """Return what answers ``/metrics``, and nothing else."""
    root = Resource()
    root.putChild(b"metrics", MetricsPage(Scrapes(render, clock)))
    return root


class Scrapes:
    """Gathers the metrics for all who ask, a few times a second at most.

    It takes some milliseconds of the reactor's time. A scrape that comes too soon after another
    waits for its turn, so none is answered with what was true before it asked.

    Args:
        render: returns the text.
        clock: tells when the next turn is.
    """

    _log = Logger()

    def __init__(self, render: Callable[[], Deferred[bytes]], clock: IReactorTime) -> None:
        self._render = render
        self._clock = clock
        self._asked: list[Deferred[bytes | None]] = []
        self._not_before = 0.0
        self._under_way = False

    def text(self) -> Deferred[bytes | None]:
        """Return the metrics as text; None where they can't be gathered."""
        waiting: Deferred[bytes | None] = Deferred()
        self._asked.append(waiting)
        self._begin()
        return waiting

    def _begin(self) -> None:
        if not self._under_way:
            self._under_way = True
            wait_s = self._not_before - self._clock.seconds()
            self._clock.callLater(max(0.0, wait_s), self._gather)

    def _gather(self) -> None:
        asked, self._asked = self._asked, []
        self._not_before = self._clock.seconds() + _BETWEEN_S
        gathering: Deferred[Any] = maybeDeferred(self._render)
        gathering.addErrback(self._failed)
        gathering.addCallback(self._tell, asked)

    def _failed(self, failure: Failure) -> None:
        self._log.failure("the metrics could not be gathered", failure)

    def _tell(self, text: bytes | None, asked: list[Deferred[bytes | None]]) -> None:
        self._under_way = False
        for waiting in asked:
            if not waiting.called:  # else whoever asked has gone
                waiting.callback(text)
        if self._asked:
            self._begin()


class MetricsPage(Resource):
    """Answers a scrape.

    Args:
        scrapes: has the text.
    """

    isLeaf = True

    def __init__(self, scrapes: Scrapes) -> None:
        super().__init__()
        self._scrapes = scrapes

    @override
    def render(self, request: Request) -> int:
        asked = self._scrapes.text()
        request.notifyFinish().addErrback(lambda _gone: asked.cancel())
        asked.addCallback(self._answer, request)
        asked.addErrback(lambda failure: failure.trap(CancelledError))
        return NOT_DONE_YET

    def _answer(self, text: bytes | None, request: Request) -> None:
        if text is None:
            request.setResponseCode(500)
        else:
            request.setHeader(b"content-type", CONTENT_TYPE_LATEST.encode())
            request.setHeader(b"content-length", b"%d" % len(text))
            request.write(text)
        request.finish()
