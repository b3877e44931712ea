"""Metrics as text, and the texts of several processes as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from typing_extensions import override


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


def metrics_root(render: Callable[[], Deferred[bytes]]) -> Resource:
    """Return what answers ``/metrics``, and nothing else."""
    root = Resource()
    root.putChild(b"metrics", MetricsPage(render))
    return root


class MetricsPage(Resource):
    """Answers a scrape.

    Args:
        render: returns the text.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, render: Callable[[], Deferred[bytes]]) -> None:
        super().__init__()
        self._render = render

    @override
    def render(self, request: Request) -> int:
        rendering = self._render()
        request.notifyFinish().addErrback(lambda _gone: rendering.cancel())

        def answer(text: bytes) -> None:
            request.setHeader(b"content-type", CONTENT_TYPE_LATEST.encode())
            request.write(text)
            request.finish()

        def fail(failure: Failure) -> None:
            if failure.check(CancelledError):  # whoever asked has gone
                return
            self._log.failure("the metrics could not be gathered", failure)
            request.setResponseCode(500)
            request.finish()

        rendering.addCallbacks(answer, fail)
        return NOT_DONE_YET
