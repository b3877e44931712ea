"""A cell's message bus, as the port check sees it; ``openstack.oslo_bus`` is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vncproxy.errors import PortCheckUnavailable
from vncproxy.openstack.cell_tables import Instance


@dataclass(frozen=True, slots=True)
class Question:
    """Whether the port is the machine's console of that type, as nova-compute is asked it."""

    instance: Instance
    port: int
    console_type: str


class NobodyListens(Exception):
    """No queue takes questions for that topic and host."""


class NoAnswer(PortCheckUnavailable):
    """A queue took the question, but no answer came in time."""


class Bus(Protocol):
    """Blocking calls, made from several threads at once."""

    def ask(self, topic: str, version: str, question: Question) -> None:
        """Return if nova-compute says yes.

        Args:
            topic: that it listens on.
            version: of its RPC interface.
            question: about one machine, on whose host nova-compute is asked.

        Raises:
            NobodyListens: on this topic, at the machine's host.
            NoAnswer: in time.
            PortCheckFailed: it says no.
            InstanceGone: it does not know the machine.
            PortCheckUnavailable: it answered something else, or the bus failed.
        """

    def reach(self) -> None:
        """Raise ``PortCheckUnavailable`` if no broker could ever be reached yet."""

    def close(self) -> None:
        """Close the connections; may wait for a broker that has gone."""
