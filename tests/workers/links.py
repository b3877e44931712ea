"""Both ends of the connection between a parent and a worker, in memory."""

from __future__ import annotations

from twisted.internet.testing import StringTransport

from vncproxy.workers.commands import Link


class Wire(StringTransport):
    """A transport whose bytes the test carries, and that closes when told to."""

    protocol: Link

    def loseConnection(self) -> None:
        """Close: the end that said so learns of it at once."""
        if not self.disconnecting:
            super().loseConnection()
            self.protocol.connectionLost()


class Wires:
    """Connects two links, and carries what they say.

    Args:
        ends: the links.
    """

    def __init__(self, *ends: Link) -> None:
        self._ends = ends
        self._wires = [Wire(), Wire()]
        for end, wire in zip(ends, self._wires, strict=True):
            wire.protocol = end
            end.makeConnection(wire)

    def carry(self) -> None:
        """Carry bytes in both directions until there are no more."""
        while any(wire.value() for wire in self._wires):
            for wire, other in zip(self._wires, reversed(self._ends), strict=True):
                data = wire.value()
                wire.clear()
                if data:
                    other.dataReceived(data)
