"""UNIX sockets of consoles: the one that was checked is the one that is dialled."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from tests.e2e.programs import cannot_test
from vncproxy.errors import TargetForbidden
from vncproxy.target_rules import TargetRules
from vncproxy.target_socket import CheckedSocket

_SOMEBODY = 4321


class _Waiting(Protocol):
    """Keeps what the server says first."""

    def __init__(self) -> None:
        self.said: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.said.callback(data)


def _said(protocol: IProtocol) -> Deferred[bytes]:
    assert isinstance(protocol, _Waiting)
    return protocol.said


class CheckedSocketTests(TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.consoles = Path(directory.name).resolve() / "consoles"
        self.secrets = Path(directory.name).resolve() / "secrets"
        for path in (self.consoles, self.secrets):
            path.mkdir()
        self.listen(self.consoles / "vm.sock", b"console")
        self.listen(self.secrets / "engine.sock", b"engine")
        self.rules = TargetRules([str(self.consoles)])
        self.addCleanup(self.no_file_stays_open)

    def no_file_stays_open(self) -> None:
        """Sockets themselves have other names there."""
        numbers = os.listdir("/proc/self/fd")
        paths = [
            os.readlink(f"/proc/self/fd/{n}")
            for n in numbers
            if os.path.lexists(f"/proc/self/fd/{n}")
        ]
        self.assertEqual([path for path in paths if path.startswith(str(self.consoles.parent))], [])

    def listen(self, path: Path, says: bytes) -> None:
        from twisted.internet import reactor

        class Greeting(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(says)
                self.transport.loseConnection()

        factory = Factory.forProtocol(Greeting)
        factory.noisy = False
        port = reactor.listenUNIX(str(path), factory)  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)

    def reached(
        self, path: Path | str, before: Callable[[], None] = lambda: None
    ) -> Deferred[bytes]:
        """Connect, and return what the server says.

        Args:
            path: of the socket.
            before: called at each check, before it.
        """
        from twisted.internet import reactor

        def check(path: str) -> None:
            before()
            self.rules.check_socket(path, ours=False)

        factory = Factory.forProtocol(_Waiting)
        factory.noisy = False
        connecting = CheckedSocket(reactor, str(path), 5.0, check).connect(factory)
        return connecting.addCallback(_said)

    async def test_a_socket_of_a_directory(self) -> None:
        """It is reached, by a link from elsewhere too."""
        self.assertEqual(await self.reached(self.consoles / "vm.sock"), b"console")
        (self.secrets / "link").symlink_to(self.consoles / "vm.sock")
        self.assertEqual(await self.reached(self.secrets / "link"), b"console")
        self.assertEqual(await self.reached(f"{self.secrets}/../consoles/./vm.sock"), b"console")

    async def test_sockets_elsewhere(self) -> None:
        """Neither by their own paths, nor by links and dots, whether they exist or not."""
        (self.consoles / "link").symlink_to(self.secrets / "engine.sock")
        (self.consoles / "directory").symlink_to(self.secrets)
        for path in (
            self.secrets / "engine.sock",
            self.secrets / "no.sock",
            self.consoles / "link",
            self.consoles / "directory/engine.sock",
            self.consoles / "directory/no.sock",
            f"{self.consoles}/../secrets/engine.sock",
        ):
            with self.assertRaises(TargetForbidden):
                await self.reached(path)

    async def test_links_of_other_people(self) -> None:
        """Lead to their own sockets only, wherever on the way they are."""
        if os.geteuid():
            cannot_test("only root gives files to others")
        self.rules = TargetRules([str(self.consoles.parent)])
        (self.consoles / "link").symlink_to("../secrets/engine.sock")
        (self.consoles / "directory").symlink_to(self.secrets)
        (self.consoles / "indirect").symlink_to("directory/../secrets/./engine.sock")
        paths = [self.consoles / name for name in ("link", "directory/engine.sock", "indirect")]
        for path in paths:
            self.assertEqual(await self.reached(path), b"engine")
        for link in ("link", "directory"):
            os.lchown(self.consoles / link, _SOMEBODY, -1)
        for path in paths:
            with self.assertRaises(TargetForbidden) as caught:
                await self.reached(path)
            self.assertIn(f"of user {_SOMEBODY}", str(caught.exception))
        os.chown(self.secrets / "engine.sock", _SOMEBODY, -1)
        for path in paths:
            self.assertEqual(await self.reached(path), b"engine")

    async def test_links_in_a_circle(self) -> None:
        """Are an error, and end."""
        (self.consoles / "one").symlink_to("two")
        (self.consoles / "two").symlink_to("one")
        with self.assertRaises(OSError):
            await self.reached(self.consoles / "one")

    async def test_nobody_listens(self) -> None:
        """An error that says so."""
        with self.assertRaises(FileNotFoundError):
            await self.reached(self.consoles / "no.sock")
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(self.consoles / "old.sock"))
        with self.assertRaises(ConnectionRefusedError):
            await self.reached(self.consoles / "old.sock")

    async def test_a_link_that_is_changed_before_the_file_is_opened(self) -> None:
        """What was opened is checked once more: the path that was checked first is not believed."""
        link = self.consoles / "link"
        link.symlink_to(self.consoles / "vm.sock")
        checks = []

        def swap_behind_the_first() -> None:
            checks.append(link)
            if len(checks) == 1:
                self.rules = TargetRules([str(self.consoles), str(self.secrets)])
                self.point(link, self.secrets / "engine.sock")
            else:
                self.rules = TargetRules([str(self.consoles)])

        with self.assertRaises(TargetForbidden):
            await self.reached(link, swap_behind_the_first)
        self.assertEqual(len(checks), 2)

    async def test_a_link_that_is_changed_before_the_file_is_dialled(self) -> None:
        """The opened file is dialled, though its path leads elsewhere by then."""
        link = self.consoles / "link"
        link.symlink_to(self.consoles / "vm.sock")
        reached = self.reached(link)  # the connection itself waits for the reactor's next turn
        self.point(link, self.secrets / "engine.sock")
        self.assertEqual(await reached, b"console")
        (self.consoles / "real").mkdir()
        self.listen(self.consoles / "real/vm.sock", b"deeper console")
        reached = self.reached(self.consoles / "real/vm.sock")
        (self.consoles / "real").rename(self.consoles / "moved")
        (self.consoles / "real").symlink_to(self.secrets)
        (self.secrets / "vm.sock").symlink_to(self.secrets / "engine.sock")
        self.assertEqual(await reached, b"deeper console")
        (self.consoles / "real").unlink()
        (self.consoles / "moved").rename(self.consoles / "real")

    def point(self, link: Path, where: Path) -> None:
        """Let a link point elsewhere, at once."""
        new = link.with_name("new")
        new.symlink_to(where)
        new.replace(link)
