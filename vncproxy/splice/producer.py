"""Twisted's view of something throttled."""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from vncproxy.interfaces import Throttled


@implementer(IPushProducer)
class Producer:
    """Passes a consumer's wishes on to a throttled source.

    A raw transport must not be registered in its place: its ``stopProducing`` would close it.
    """

    def __init__(self, source: Throttled) -> None:
        self._source = source

    def pauseProducing(self) -> None:
        """Produce nothing more for now."""
        self._source.pause()

    def resumeProducing(self) -> None:
        """Produce again."""
        self._source.resume()

    def stopProducing(self) -> None:
        """Do nothing: the consumer is gone, and its leg says so in its own way."""
