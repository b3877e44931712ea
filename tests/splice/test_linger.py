"""How long a connection lingers that its peer does not close."""

from __future__ import annotations

import socket

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.programs import becomes_true
from tests.splice.sockets import FdReactor, SocketLeg, tcp_pair
from vncproxy.splice.linger import Linger
from vncproxy.splice.wire import undelivered_bytes


class LingerTestCase(SynchronousTestCase):
    """A leg on TCP; the subclass has it on a UNIX socket."""

    def pair(self) -> tuple[socket.socket, socket.socket]:
        return tcp_pair()

    def setUp(self) -> None:
        self.clock = FdReactor()
        self.leg = SocketLeg(self.clock, False, self.pair())
        self.addCleanup(self.leg.peer.close)
        self.leg.received = lambda _data: None
        self.leg.lost = lambda _ending, _detail: None

    def close(self) -> None:
        """Begin to close, as a target's leg does."""
        self.leg.transport.loseWriteConnection()
        self.linger = Linger(self.clock, self.leg.transport)

    def serve(self) -> None:
        """Write what the socket takes."""
        if self.leg.real in self.clock.writers:
            self.leg.real.doWrite()

    @property
    def is_gone(self) -> bool:
        self.clock.advance(0)  # a transport aborts in the reactor's next turn
        return self.leg.reason is not None

    def wait(self, seconds: float) -> None:
        """Let time go by, a quarter of a second at once."""
        self.clock.pump([0.25] * int(seconds * 4))


class TcpTests(LingerTestCase):
    def test_nothing_to_deliver(self) -> None:
        """It is over as soon as a program must have read what its kernel has."""
        self.close()
        self.serve()
        self.assertTrue(becomes_true(lambda: not undelivered_bytes(self.leg.transport)))
        self.wait(0.75)
        self.assertFalse(self.is_gone)
        self.wait(0.5)
        self.assertTrue(self.is_gone)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_peer_that_takes_it_slowly(self) -> None:
        """It goes on for as long as there is something to deliver, and some of it is taken."""
        pasted = 10 * self.leg.fill()
        self.leg.write(bytes(pasted))
        self.close()
        taken, waited = 0, 0
        while undelivered_bytes(self.leg.transport):
            self.assertFalse(self.is_gone)
            taken += len(self.leg.peer_reads())
            for _ in range(20):
                self.serve()
            self.wait(2)
            waited += 2
        taken += len(self.leg.peer_reads())
        self.assertGreater(taken, pasted)
        self.assertGreater(waited, 6)
        self.wait(1.25)
        self.assertTrue(self.is_gone)

    def test_a_peer_that_takes_nothing(self) -> None:
        """It is given up after three seconds."""
        self.leg.fill()
        self.leg.write(b"more")
        self.close()
        self.wait(2.75)
        self.assertFalse(self.is_gone)
        self.wait(0.5)
        self.assertTrue(self.is_gone)

    def test_a_peer_that_closes(self) -> None:
        """Nothing goes on once it has."""
        self.close()
        self.linger.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class UnixTests(TcpTests):
    """The kernel's count of a UNIX socket's bytes has other units, but ends at 0 as well."""

    def pair(self) -> tuple[socket.socket, socket.socket]:
        return socket.socketpair()


class UndeliveredTests(LingerTestCase):
    def test_where_it_is_counted(self) -> None:
        """What waits here and what waits in the kernel both count."""
        transport = self.leg.transport
        self.assertEqual(undelivered_bytes(transport), 0)
        self.leg.write(b"key")
        self.assertEqual(undelivered_bytes(transport), 3)
        self.serve()
        filled = self.leg.fill()
        before = undelivered_bytes(transport)
        self.assertGreater(before, 0)
        self.assertLessEqual(before, filled + 3)

    def test_of_nobody(self) -> None:
        """Nothing is owed to a peer that takes nothing any more, nor on no socket at all."""
        self.leg.write(b"key")
        self.leg.real.write_no_more(BrokenPipeError())
        self.assertEqual(undelivered_bytes(self.leg.transport), 0)
        self.assertEqual(undelivered_bytes(StringTransport()), 0)
