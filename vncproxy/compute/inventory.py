"""The driver ``inventory``: servers and consoles out of a file that people write."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from vncproxy.compute.interface import (
    CONSOLE_TYPES,
    Console,
    ConsoleTypeUnsupported,
    HostFault,
    HostUnreachable,
    Listing,
    NoSuchConsole,
    Server,
    ServerNotFound,
    ServerNotRunning,
    Status,
)
from vncproxy.compute.inventory_file import Entry, InventoryFault, PasswordFile, parse_inventory
from vncproxy.compute.lookup import canonical_id, the_one
from vncproxy.compute.threads import BoundedThreads
from vncproxy.model import Credentials

_MISSING = (0, 0, 0)


class Inventory:
    """What an inventory says, found by id and by name."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.by_id = {entry.server.id: entry for entry in entries}
        self._by_name: dict[str, list[Server]] = {}
        for entry in self.by_id.values():
            self._by_name.setdefault(entry.server.name, []).append(entry.server)
        self.servers = tuple(
            sorted(
                (entry.server for entry in self.by_id.values()),
                key=lambda server: (server.name, server.id),
            )
        )

    def find(self, name_or_id: str) -> list[Server]:
        """Return the servers of this id or name."""
        entry = self.by_id.get(canonical_id(name_or_id) or "")
        return [entry.server] if entry else self._by_name.get(name_or_id, [])


def read_inventory(path: str) -> Inventory:
    """Return what the file says.

    Raises:
        InventoryFault: it says something that an inventory does not.
        OSError: it can't be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InventoryFault(error.object.count(b"\n", 0, error.start) + 1, "no UTF-8") from None
    return Inventory(parse_inventory(text))


class InventoryDriver:
    """Finds servers in the inventory, which is read again when it has changed.

    A file that can't be used leaves the one before it in force, with an error in the log.

    Args:
        path: of the file.
        reactor: runs the callbacks of the thread that reads it.
    """

    _log = Logger()

    def __init__(self, path: str, reactor: IReactorFromThreads) -> None:
        self._path = path
        self._threads = BoundedThreads(reactor, 1, "inventory")
        self._inventory: Inventory | None = None
        self._fault: HostFault | None = None
        self._read_at: tuple[int, int, int] | None = None
        self._one_reads = DeferredLock()

    async def list_servers(self) -> Listing:
        """Return every server (see ``interface.ComputeDriver``)."""
        await self._read_if_changed()
        faults = () if self._fault is None else (self._fault,)
        return Listing(() if self._inventory is None else self._inventory.servers, faults)

    async def find_servers(self, name_or_id: str) -> Listing:
        """Return the servers of this id or name; what an older file said counts without a fault."""
        await self._read_if_changed()
        if self._inventory is None:
            return Listing((), () if self._fault is None else (self._fault,))
        return Listing(tuple(self._inventory.find(name_or_id)))

    async def find_server(self, name_or_id: str) -> Server:
        """Return a server (see ``interface.ComputeDriver``)."""
        return the_one(name_or_id, await self.find_servers(name_or_id))

    async def find_console(self, server: Server, console_type: str) -> Console:
        """Return where a console is (see ``interface.ComputeDriver``)."""
        if console_type not in CONSOLE_TYPES:
            raise ConsoleTypeUnsupported(console_type)
        entry = (await self._current(server.name)).by_id.get(server.id)
        if entry is None:
            raise ServerNotFound(f"Server {server.id} could not be found.")
        if entry.server.status is Status.SHUTOFF:
            raise ServerNotRunning(f"Server {server.name} is not running.")
        console = entry.consoles.get(console_type)
        if console is None:
            raise NoSuchConsole(f"Server {server.name} has no console of type {console_type}.")
        password_file = entry.password_files.get(console_type)
        if password_file is None:
            return console
        return replace(console, credentials=self._credentials(server, password_file))

    def stop(self) -> None:
        """Do nothing: nothing is held open."""

    def _credentials(self, server: Server, file: PasswordFile) -> Credentials:
        path = Path(self._path).parent / file.path
        try:
            password = path.read_text(encoding="utf-8-sig").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no UTF-8"
            raise NoSuchConsole(
                f"The console of server {server.name} can't be opened.",
                f"the password_file of {server.name} can't be read: {path}: {reason}",
            ) from None
        return Credentials(password, file.username)

    async def _current(self, asked: str) -> Inventory:
        await self._read_if_changed()
        if self._inventory is None:
            raise HostUnreachable(asked, [self._fault] if self._fault else [])
        return self._inventory

    async def _read_if_changed(self) -> None:
        """Read the file in a thread, once for all who ask meanwhile."""
        if self._stamp() == self._read_at:
            return
        await self._one_reads.acquire()
        try:
            stamp = self._stamp()
            if stamp != self._read_at:
                await self._read(stamp)
        finally:
            self._one_reads.release()

    async def _read(self, stamp: tuple[int, int, int]) -> None:
        try:
            self._inventory = await self._threads.call(lambda: read_inventory(self._path))
            self._fault = None
        except (InventoryFault, OSError) as error:
            self._fault = HostFault(self._path, getattr(error, "strerror", None) or str(error))
            self._log.error(
                "[vncproxy] inventory_file: {path}: {reason}{kept}",
                path=self._path,
                reason=self._fault.reason,
                kept="; what it said before still counts" if self._inventory else "",
            )
        self._read_at = stamp

    def _stamp(self) -> tuple[int, int, int]:
        """Return what differs when the file has changed; zeros where there is none."""
        try:
            status = os.stat(self._path)
        except OSError:
            return _MISSING
        return (status.st_mtime_ns, status.st_size, status.st_ino)
