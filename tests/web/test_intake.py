"""A client's frames: how many in a turn, how many in all, and what is kept for one that reads none.

The portable path, in memory; ``tests/splice/test_floods.py`` does the same on the engine's.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import TurnClock, grant_for, ws_frame
from tests.web.harness import Connection, WebHarness
from vncproxy.limits.turns import Turns
from vncproxy.model import Ending, Token
from vncproxy.web.intake import (
    FRAMES_A_TURN,
    IDLE_FRAMES_S,
    MOST_IDLE_FRAMES,
    MOST_UNSENT_BYTES,
    SERVER_LAGS,
    Intake,
)
from vncproxy.web.websocket import BrowserFactory, BrowserLeg, BrowserProtocol

_MASK = b"abcd"
_PING = ws_frame(b"", _MASK, 0x89)
_KEY = ws_frame(b"k", _MASK)
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Client(Connection):
    """A client's connection, with the session's end of it.

    Attributes:
        received: the stream, as the session got it.
        ending: how the session's end said it was lost.
        backlog: bytes that the transport is said to keep for the client.
    """

    def __init__(self, factory: BrowserFactory, refused: bool = False) -> None:
        super().__init__()
        self.received = b""
        self.ending: tuple[Ending, str] | None = None
        self.backlog = 0
        self.browser = factory.protocol_for(self._opened, refused)
        self.protocol = self.browser
        self.browser.makeConnection(self)
        self.send(_HANDSHAKE)
        self.clear()

    def _opened(self, leg: BrowserLeg) -> None:
        self.leg = leg
        leg.received = self._receive
        leg.lost = lambda ending, detail: setattr(self, "ending", (ending, detail))

    def _receive(self, data: bytes) -> None:
        self.received += data

    @property
    def reads(self) -> bool:
        """Whether the connection is read."""
        return self.producerState == "producing"

    @property
    def close_code(self) -> int | None:
        """Of the Close frame that was sent, which is the last one."""
        _, found, close = self.value().rpartition(b"\x88")
        return int.from_bytes(close[1:3], "big") if found else None


class FloodTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.factory = BrowserFactory(1 << 20, 0, self.clock)
        backlog = property(lambda protocol: getattr(protocol.transport, "backlog", 0))
        self.patch(BrowserProtocol, "unsent", backlog)

    def client(self, refused: bool = False) -> Client:
        return Client(self.factory, refused)

    def turns(self, client: Client) -> int:
        """Let turns pass until the client is read again; return how many it took."""
        for count in range(10_000):
            if client.reads:
                return count
            self.clock.turn()
        raise AssertionError("it is read no more")


class TurnTests(FloodTestCase):
    def test_so_many_frames_a_turn(self) -> None:
        """Of a flood a little is taken in each turn, in order, and nothing is read meanwhile."""
        client, count = self.client(), 10_000
        keys = bytes(i % 251 for i in range(count))
        client.send(b"".join(ws_frame(bytes([key]), _MASK) for key in keys))
        lengths = [0, len(client.received)]
        while not client.reads:
            self.clock.turn()
            lengths.append(len(client.received))
        self.assertEqual(client.received, keys)
        self.assertLess(max(now - before for before, now in pairwise(lengths)), 2 * FRAMES_A_TURN)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_large_frames_take_one_turn(self) -> None:
        """What carries much costs little, and is taken at once."""
        client = self.client()
        client.send(ws_frame(bytes(60_000), _MASK) * 10)
        self.assertEqual(len(client.received), 600_000)
        self.assertTrue(client.reads)

    def test_many_floods_share_a_turn(self) -> None:
        """However many flood, in a turn one of them is served; and another client at once."""
        floods = [self.client() for _ in range(5)]
        for flood in floods:
            flood.send(_KEY * 1000)
        before = sum(len(flood.received) for flood in floods)
        self.clock.turn()
        taken = sum(len(flood.received) for flood in floods) - before
        self.assertLess(taken, 2 * FRAMES_A_TURN)
        honest = self.client()
        honest.send(_KEY)
        self.assertEqual(honest.received, b"k")

    def test_fragments_are_not_collected(self) -> None:
        """A console's stream has no messages: a fragment goes on as it comes, nothing is kept."""
        client = self.client()
        client.send(ws_frame(b"a", _MASK, 0x02) + ws_frame(b"b", _MASK, 0x00))
        self.assertEqual(client.received, b"ab")
        self.assertFalse(client.browser.between_frames)
        client.send(ws_frame(b"c", _MASK, 0x80))
        self.assertEqual(client.received, b"abc")
        self.assertTrue(client.browser.between_frames)

    def test_what_came_before_the_end(self) -> None:
        """A connection that ends in the middle of a backlog has ended when that is taken."""
        client = self.client()
        client.send(_KEY * 1000)
        client.browser.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(client.ending)
        while client.ending is None:
            self.clock.turn()
        self.assertEqual(client.received, b"k" * 1000)
        self.assertEqual(client.ending[0], Ending.CLIENT_LOST)

    def test_a_server_that_lags(self) -> None:
        """The backlog waits with the reading, and both go on together."""
        client = self.client()
        client.send(_KEY * 1000)
        client.leg.pause()
        for _ in range(3):
            self.clock.turn()
        taken = len(client.received)
        self.assertLess(taken, 1000)
        self.clock.turn()
        self.assertEqual(len(client.received), taken)
        client.leg.resume()
        self.assertFalse(client.reads)
        self.turns(client)
        self.assertEqual(len(client.received), 1000)

    def test_a_client_that_was_dropped(self) -> None:
        """Of one that erred twice, and whose end is on its way, nothing is kept."""
        client = self.client()
        client.send(ws_frame(b"?", None) * 2)
        for _ in range(100):
            client.send(bytes(10_000))
        self.assertLess(len(client.browser.data), 10_000)

    def test_a_fault_of_ours(self) -> None:
        """What taking a frame raises drops that connection, and is logged once."""

        def breaks(_data: bytes) -> None:
            raise RuntimeError("a fault")

        client = self.client()
        client.leg.received = breaks
        client.send(_KEY * 1000)
        for _ in range(3):
            self.clock.turn()
        self.assertTrue(client.disconnected)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class IdleFrameTests(FloodTestCase):
    def flood(self, client: Client, frame: bytes, times: int) -> None:
        client.send(frame * times)
        for _ in range(1 + times // 10):
            self.clock.turn()

    def test_too_many(self) -> None:
        """Frames that carry nothing end the session with 1008, in words, and are not read on."""
        for frame in (
            _PING,
            ws_frame(b"", _MASK, 0x8A),
            ws_frame(b"", _MASK),
            ws_frame(b"?", _MASK, 0x89),
        ):
            client = self.client()
            self.flood(client, frame, MOST_IDLE_FRAMES)
            self.assertIsNone(client.close_code, frame)
            self.flood(client, frame, 1000)
            self.assertEqual(client.close_code, 1008, frame)
            self.assertIn(b"The client sends too many frames with nothing in them.", client.value())
            self.assertFalse(client.reads)
            self.clock.advance(3)
            self.assertTrue(client.disconnected)
            client.browser.connectionLost(Failure(ConnectionDone()))
            expected = f"over {MOST_IDLE_FRAMES} in {IDLE_FRAMES_S} s"
            self.assertEqual(client.ending, (Ending.CLIENT_FLOOD, expected))
            self.clock.advance(20)

    def test_empty_fragments(self) -> None:
        """So do the empty fragments of one message."""
        client = self.client()
        client.send(ws_frame(b"a", _MASK, 0x02))
        self.flood(client, ws_frame(b"", _MASK, 0x00), MOST_IDLE_FRAMES + 1)
        self.assertEqual(client.close_code, 1008)

    def test_an_eager_client(self) -> None:
        """Ten pings a second, and a hundred messages that end with an empty fragment, are fine."""
        client = self.client()
        message = ws_frame(b"a", _MASK, 0x02) + ws_frame(b"", _MASK, 0x80)
        for _ in range(60):
            client.send(_PING * 10 + message * 100)
            for _ in range(10):
                self.clock.turn()
            self.clock.advance(1)
        self.assertEqual(len(client.received), 6000)
        self.assertEqual(client.value(), b"\x8a\0" * 600)

    def test_in_the_closing_handshake(self) -> None:
        """A client that was told Close, and floods instead of answering, is gone soon."""
        client = self.client()
        client.leg.close(Ending.SERVER_CLOSED, "bye")
        client.clear()
        self.flood(client, _PING, MOST_IDLE_FRAMES + 1)
        self.assertEqual(client.value(), b"")
        self.assertFalse(client.reads)
        self.clock.advance(3)
        self.assertTrue(client.disconnected)


class UnreadTests(FloodTestCase):
    def test_a_client_that_reads_nothing(self) -> None:
        """It is read no further, and sent no more, until it has taken some of what it was sent."""
        client = self.client()
        client.backlog = MOST_UNSENT_BYTES + 1
        client.send(_PING * 100 + _KEY)
        client.browser._ping()
        self.assertEqual((client.value(), client.received), (b"", b""))
        self.assertFalse(client.reads)
        self.clock.advance(60)
        self.assertFalse(client.reads)
        client.backlog = MOST_UNSENT_BYTES
        self.clock.advance(1)
        self.turns(client)
        self.assertEqual((client.value(), client.received), (b"\x8a\0" * 100, b"k"))

    def test_it_leaves(self) -> None:
        """Its end ends the waiting too."""
        client = self.client()
        client.backlog = MOST_UNSENT_BYTES + 1
        client.send(_KEY)
        client.browser.connectionLost(Failure(ConnectionDone()))
        self.clock.turn()
        self.assertEqual(client.received, b"k")
        self.assertIsNotNone(client.ending)
        self.clock.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_close_that_is_not_taken(self) -> None:
        """A client that errs twice, and reads nothing, is dropped in 10 s all the same."""
        client = self.client()
        client.send(ws_frame(b"?", None) * 2)
        self.assertTrue(client.disconnecting)
        self.clock.advance(10)
        self.assertTrue(client.disconnected)


class RefusedTests(FloodTestCase):
    def test_what_is_read(self) -> None:
        """Of a client that only hears a refusal the first bytes are, and nothing after them."""
        client = self.client(refused=True)
        client.send(ws_frame(b"RFB 003.008\n", _MASK))
        self.assertTrue(client.reads)
        client.send(_KEY * 1000)
        for _ in range(100):
            self.clock.turn()
        self.assertFalse(client.reads)
        self.assertEqual(client.received[:14], b"RFB 003.008\nkk")
        self.assertLess(len(client.received), 310)  # 2 KB of such frames

    def test_a_bad_token_s(self) -> None:
        """A bad token makes such a client."""
        web = WebHarness()
        connection = web.upgrade("/?token=unknown")
        connection.send(_PING * 1000)
        self.assertEqual(connection.producerState, "paused")
        self.assertLess(connection.value().count(b"\x8a\0"), 400)
        good = "7f0c0ab0-57a6-4bb0-9c6f-2d6b9a0b8a11"
        web.store.grants[good] = grant_for(Token(good))
        connection = web.upgrade(f"/?token={good}")
        connection.send(_PING * 1000)
        web.clock.advance(0)
        self.assertEqual(connection.value().count(b"\x8a\0"), 1000)


class Recorder:
    """A parser that keeps what it is given, and has a bound to how much that may be at once."""

    def __init__(self) -> None:
        self.seen = b""
        self.unsent = 0
        self.rest_of_frame = 0
        self.reads = True

    def parse(self, data: bytes) -> None:
        """Keep it."""
        self.seen += data

    def read(self, go_on: bool) -> None:
        """Keep that too."""
        assert go_on is not self.reads, "told twice"
        self.reads = go_on


_EVENTS = st.one_of(
    st.binary(min_size=1, max_size=3000),
    st.sampled_from(["turn", "lag", "keep up", "full", "empty", "moved"]),
)


class OrderTests(SynchronousTestCase):
    @given(st.lists(_EVENTS, max_size=30))
    def test_any_course(self, events: list[bytes | str]) -> None:
        """Whatever happens meanwhile, all that was sent is parsed once, and in order."""
        clock, parser, sent = TurnClock(), Recorder(), b""
        intake = Intake(parser, Turns(clock))
        for event in events:
            if isinstance(event, bytes):
                sent += event
                intake.take(event)
            elif event == "turn":
                clock.turn()
            elif event == "moved":
                parser.reads = True
                intake.moved()
            elif event in ("full", "empty"):
                parser.unsent = MOST_UNSENT_BYTES + 1 if event == "full" else 0
            else:
                change = intake.hold if event == "lag" else intake.release
                change(SERVER_LAGS)
            self.assertTrue(sent.startswith(parser.seen))
        parser.unsent = 0
        intake.release(SERVER_LAGS)
        clock.pump([1] * 3)
        self.assertEqual(parser.seen, sent)
        self.assertTrue(parser.reads)
        self.assertEqual(clock.getDelayedCalls(), [])

    @given(
        st.lists(
            st.one_of(
                st.binary(min_size=1, max_size=200).map(lambda data: (0x82, data)),
                st.binary(max_size=3).map(lambda data: (0x82, data)),
                st.sampled_from([(0x89, b"?"), (0x8A, b""), (0x89, b"")]),
            ),
            max_size=60,
        ),
        st.data(),
    )
    def test_any_frames(self, frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
        """Cut anywhere, the stream and the answers are those of the frames, and in order."""
        clock = TurnClock()
        client = Client(BrowserFactory(1 << 20, 0, clock))
        wire = b"".join(ws_frame(payload, _MASK, first) for first, payload in frames) * 10
        while wire:
            cut = data.draw(st.integers(1, len(wire)))
            client.send(wire[:cut])
            wire = wire[cut:]
        for _ in range(40):
            clock.turn()
        expected = b"".join(payload for first, payload in frames if first == 0x82) * 10
        pongs = b"".join(ws_frame(p, None, 0x8A) for first, p in frames if first == 0x89) * 10
        self.assertEqual((client.received, client.value()), (expected, pongs))
        self.assertTrue(client.reads)
