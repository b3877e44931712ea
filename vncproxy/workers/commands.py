"""What the parent and a worker say to each other, in AMP."""

from __future__ import annotations

import enum
from itertools import count
from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import connectionDone
from twisted.protocols.amp import (
    AMP,
    Argument,
    BinaryBoxProtocol,
    Boolean,
    Command,
    Integer,
    Unicode,
)
from twisted.python.failure import Failure
from typing_extensions import override

REPORT_INTERVAL_S = 2.0
_PIECE_BYTES = 0xFFFF  # what AMP's format allows for one value


class State(enum.Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


class Long(Argument):
    """Bytes of any length, as several values of a box where one can't hold them."""

    @override
    def toBox(
        self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, bytes], proto: object
    ) -> None:
        value = objects[name.decode()]
        for start in range(0, max(len(value), 1), _PIECE_BYTES):
            strings[_piece(name, start)] = value[start : start + _PIECE_BYTES]

    @override
    def fromBox(
        self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, bytes], proto: object
    ) -> None:
        pieces = (strings.get(_piece(name, start)) for start in count(0, _PIECE_BYTES))
        objects[name.decode()] = b"".join(iter(pieces.__next__, None))


def _piece(name: bytes, start: int) -> bytes:
    return name + b"@%d" % start


class Link(AMP):
    """Either end of the connection between the parent and a worker.

    Attributes:
        lost: fires when it is closed, and what was said before has been sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost: Deferred[None] = Deferred()

    @override
    def makeConnection(self, transport: ITransport) -> None:
        BinaryBoxProtocol.makeConnection(self, transport)  # AMP's own would write to the log

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        BinaryBoxProtocol.connectionLost(self, reason)
        self.lost.callback(None)

    def close(self) -> None:
        """Send what has been said, and close."""
        if self.transport is not None:
            self.transport.loseConnection()


_Fields = list[tuple[bytes, Argument]]


class Report(Command):
    """From a worker: how it is; at an interval, and when its state or load changes.

    The answer says how many sessions that one of the other workers has that has the fewest.
    """

    arguments: ClassVar[_Fields] = [(b"state", Unicode()), (b"sessions", Integer())]
    response: ClassVar[_Fields] = [(b"fewest", Integer())]


class Stop(Command):
    """To a worker: end as upon SIGTERM. A worker that ends already goes on with that."""


class ListSessions(Command):
    """To a worker: what of its sessions ``session_log.describe`` tells, as a JSON list."""

    response: ClassVar[_Fields] = [(b"sessions", Long())]


class EndSession(Command):
    """To a worker: end the session of this name, for this ``Ending``'s word; say if it was here."""

    arguments: ClassVar[_Fields] = [
        (b"request_id", Unicode()),
        (b"ending", Unicode()),
        (b"detail", Unicode()),
    ]
    response: ClassVar[_Fields] = [(b"found", Boolean())]


class Metrics(Command):
    """To a worker: its metrics in Prometheus' text form."""

    response: ClassVar[_Fields] = [(b"exposition", Long())]
