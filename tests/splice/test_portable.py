"""The portable splice: bytes both ways, counted, each side slowed by the other's reader."""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.helpers import MemoryLeg
from vncproxy.model import SessionFacts
from vncproxy.splice.portable import Splice
from vncproxy.splice.producer import Producer


class SpliceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.browser, self.server = MemoryLeg(), MemoryLeg()
        self.facts = SessionFacts("req-1", "192.0.2.1", 0.0)
        self.splice = Splice(self.browser, self.server, self.facts)

    def test_bytes_cross_and_are_counted(self) -> None:
        """Each side gets what the other sent, in order, early bytes first."""
        self.splice.start(b"early picture", b"early key")
        self.server.received(b", picture")
        self.browser.received(b", key")
        self.assertEqual(self.browser.written, b"early picture, picture")
        self.assertEqual(self.server.written, b"early key, key")
        counts = (self.facts.bytes_to_client, self.facts.bytes_to_server)
        self.assertEqual(counts, (len(self.browser.written), len(self.server.written)))

    def test_a_slow_reader_pauses_the_other_side(self) -> None:
        """The producer that each leg is given is the other leg."""
        self.splice.start(b"", b"")
        for reader, writer in ((self.browser, self.server), (self.server, self.browser)):
            assert reader.source is not None
            reader.source.pause()
            self.assertTrue(writer.paused)
            reader.source.resume()
            self.assertFalse(writer.paused)


class Censor:
    """A tap that lets no question mark through, and keeps what it sees."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def from_server(self, data: bytes) -> None:
        self.seen.append(data)

    def from_client(self, data: bytes) -> bytes:
        self.seen.append(data)
        return data.replace(b"?", b"")


class TapTests(SynchronousTestCase):
    def test_what_a_tap_sees_and_takes_out(self) -> None:
        """It sees both streams, early bytes too; what it keeps back is neither sent nor counted."""
        browser, server, tap = MemoryLeg(), MemoryLeg(), Censor()
        facts = SessionFacts("req-1", "192.0.2.1", 0.0)
        Splice(browser, server, facts, tap).start(b"early picture", b"early?")
        server.received(b"picture")
        browser.received(b"?")
        self.assertEqual(tap.seen, [b"early picture", b"early?", b"picture", b"?"])
        self.assertEqual((browser.written, server.written), (b"early picturepicture", b"early"))
        self.assertEqual((facts.bytes_to_client, facts.bytes_to_server), (20, 5))


class ProducerTests(SynchronousTestCase):
    def test_twisted_s_view(self) -> None:
        """Pauses and resumes pass; a consumer's loss does not close the source."""
        source = MemoryLeg()
        producer = Producer(source)
        verifyObject(IPushProducer, producer)
        producer.pauseProducing()
        self.assertTrue(source.paused)
        producer.resumeProducing()
        self.assertFalse(source.paused)
        producer.stopProducing()
        self.assertEqual((source.aborted, source.closed_with), (False, None))
