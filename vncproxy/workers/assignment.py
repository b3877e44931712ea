"""What the parent gives a new worker to start with."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass

from vncproxy.config.read import CommandLine
from vncproxy.config.settings import Settings

CHANNEL = 3  # descriptor of a worker's end of its connection with the parent
ASSIGNMENT = 4  # descriptor of a file that holds its Assignment
FIRST_LISTENER = 5  # descriptor of the first listening socket, which the others follow


@dataclass(frozen=True, slots=True)
class Assignment:
    """A worker's number, and all that it has in common with the others.

    Attributes:
        number: from 1.
        settings: as the parent read them: a worker that starts later follows the same ones.
        command_line: of the parent, to read a changed configuration by.
        reloaded: whether that has been done since the parent's start.
        reactor: the module of the reactor to run.
        listeners: descriptions of the listeners, in the order of their sockets.
    """

    number: int
    settings: Settings
    command_line: CommandLine
    reloaded: bool
    reactor: str
    listeners: tuple[str, ...]

    def write(self) -> int:
        """Return a new descriptor to read it from; it is never on a disk, for it has secrets."""
        descriptor = os.memfd_create("assignment")
        with os.fdopen(os.dup(descriptor), "wb") as file:
            pickle.dump(self, file)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    @classmethod
    def read(cls, descriptor: int) -> Assignment:
        """Return what the parent wrote, and close the descriptor."""
        with os.fdopen(descriptor, "rb") as file:
            assignment = pickle.load(file)  # noqa: S301  from our own parent
        assert isinstance(assignment, cls)  # noqa: S101
        return assignment
