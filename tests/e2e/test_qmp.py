"""Real QEMUs, asked by their monitors; and monitors that do not answer."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.compute.harness import ThreadedClock, until
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.programs import Gateway, Program, becomes_true, cannot_test, free_port, require
from tests.e2e.vnc_servers import listens
from vncproxy.compute.interface import (
    Console,
    ConsoleTypeUnsupported,
    NoSuchConsole,
    ServerAmbiguous,
    ServerNotFound,
    Status,
)
from vncproxy.compute.qmp import QmpDriver

_ID = "11111111-2222-4333-8444-555555555555"


def _listens_at(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class QmpTestCase(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.directory = Path(tempfile.mkdtemp(prefix="vncproxy-test-"))
        self.addCleanup(self.directory.rmdir)
        self.driver = QmpDriver([f"{self.directory}/*.qmp"], reactor, 30)

    def qemu(self, socket_name: str, *options: str) -> Program:
        """Run a machine that does nothing, with its monitor on this socket."""
        require("qemu-system-x86_64")
        path = self.directory / f"{socket_name}.qmp"
        program = Program(
            [
                *("qemu-system-x86_64", "-M", "pc", "-S", "-nodefaults", "-accel", "tcg"),
                *("-m", "16", "-vga", "std", "-display", "none"),
                *("-qmp", f"unix:{path},server=on,wait=off", *options),
            ]
        )
        self.addCleanup(path.unlink, missing_ok=True)
        self.addCleanup(program.stop)
        program.wait_until(lambda: _listens_at(path))
        return program

    async def console(self, name: str, console_type: str) -> Console:
        return await self.driver.find_console(await self.driver.find_server(name), console_type)


class QmpDriverTests(QmpTestCase):
    async def test_a_machine_with_every_console(self) -> None:
        """Each is found where it listens, by the machine's name and by its UUID."""
        vnc, websocket, spice, serial = (free_port() for _ in range(4))
        self.qemu(
            "a",
            *("-name", "web server", "-uuid", _ID),
            *("-vnc", f"127.0.0.1:{vnc - 5900},websocket={websocket}"),
            *("-spice", f"addr=127.0.0.1,port={spice},disable-ticketing=on"),
            *("-serial", f"tcp:127.0.0.1:{serial},server=on,wait=off"),
        )
        (server,) = (await self.driver.list_servers()).servers
        self.assertEqual(
            (server.id, server.name, server.status), (_ID, "web server", Status.PAUSED)
        )
        self.assertTrue(becomes_true(lambda: listens(vnc)))
        for name in ("web server", _ID.upper()):
            self.assertEqual(
                await self.console(name, "novnc"),
                Console("novnc", "127.0.0.1", vnc, websocket_port=websocket),
            )
        self.assertEqual((await self.console(_ID, "spice-html5")).port, spice)
        self.assertEqual((await self.console(_ID, "serial")).port, serial)
        with socket.create_connection(("127.0.0.1", serial)):  # taken, it is still the console
            self.assertEqual((await self.console(_ID, "serial")).port, serial)
        with self.assertRaises(ConsoleTypeUnsupported):
            await self.console(_ID, "webmks")

    async def test_nothing_but_a_vnc_socket(self) -> None:
        """A machine without a name is called as its socket is."""
        path = self.directory / "vnc"
        self.addCleanup(path.unlink, missing_ok=True)
        self.qemu("plain", "-vnc", f"unix:{path}")
        self.assertEqual(await self.console("plain", "novnc"), Console("novnc", str(path), 0))
        for console_type in ("spice-html5", "serial"):
            with self.assertRaises(NoSuchConsole):
                await self.console("plain", console_type)

    async def test_a_socket_of_somebody_else(self) -> None:
        """Is no console of this machine, whatever its QEMU says: it may be anybody's."""
        if os.geteuid():
            cannot_test("only root gives files to others")
        path = self.directory / "vnc"
        self.addCleanup(path.unlink, missing_ok=True)
        self.qemu("plain", "-vnc", f"unix:{path}")
        self.assertTrue(becomes_true(path.exists))
        os.chown(path, 4321, -1)
        with self.assertRaises(NoSuchConsole) as caught:
            await self.console("plain", "novnc")
        self.assertIn("is of user 4321, but its monitor", str(caught.exception))
        os.chown(self.directory / "plain.qmp", 4321, -1)
        self.assertEqual((await self.console("plain", "novnc")).host, str(path))
        path.unlink()
        with self.assertRaises(NoSuchConsole):
            await self.console("plain", "novnc")

    async def test_two_of_one_name(self) -> None:
        """Their ids tell them apart."""
        self.qemu("a", "-name", "web")
        self.qemu("b", "-name", "web", "-uuid", _ID)
        with self.assertRaises(ServerAmbiguous) as caught:
            await self.driver.find_server("web")
        self.assertIn(_ID, caught.exception.ids)
        self.assertEqual((await self.driver.find_server(_ID)).id, _ID)

    async def test_a_machine_that_ends(self) -> None:
        """Between look-up and console it is gone; the gateway refuses its token."""
        port = free_port()
        program = self.qemu("a", "-uuid", _ID, "-vnc", f"127.0.0.1:{port - 5900}")
        server = await self.driver.find_server("a")
        gateway = Gateway({"compute_driver": "qmp", "qmp_sockets": f"{self.directory}/*.qmp"})
        self.addCleanup(gateway.stop)
        url = gateway.console_url(port, f"--instance={_ID}")
        with ScriptedBrowser(url) as browser:
            self.assertIn(b"QEMU", browser.open_console())
        program.stop()
        with self.assertRaises(ServerNotFound):
            await self.driver.find_console(server, "novnc")
        self.assertEqual((await self.driver.list_servers()).faults, ())
        with ScriptedBrowser(url) as browser:
            self.assertIn("This console link is not valid", browser.read_refusal())
        gateway.program.wait_for("instance-gone")

    async def test_many_at_once(self) -> None:
        """A monitor talks to one client at a time: they take turns, and all are answered."""
        self.qemu("a")
        found = await gatherResults(
            [Deferred.fromCoroutine(self.driver.find_server("a")) for _ in range(50)]
        )
        self.assertEqual({server.name for server in found if server}, {"a"})


class FailingMonitorTests(QmpTestCase):
    async def answer(self, said: bytes) -> str:
        """Return the driver's fault about a socket that says this, and closes."""
        path = self.directory / "other.qmp"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            self.addCleanup(path.unlink, missing_ok=True)
            listener.listen()
            asked = Deferred.fromCoroutine(self.driver.list_servers())
            await until(lambda: bool(select.select([listener], [], [], 0)[0]))
            connection, _ = listener.accept()
            connection.sendall(said)
            connection.close()
            (fault,) = (await asked).faults
        path.unlink()
        return fault.reason

    async def test_a_monitor_in_use(self) -> None:
        """Another program that keeps it is not waited for long, nor by the other machines."""
        self.qemu("free")
        self.qemu("taken")
        clock = ThreadedClock()
        driver = QmpDriver([f"{self.directory}/*.qmp"], clock, 5)
        taken = f"{self.directory}/taken.qmp"
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(taken)
            other.recv(100)
            asked = Deferred.fromCoroutine(driver.list_servers())
            await until(lambda: list(driver._turns) == [taken])
            clock.advance(5)
            listing = await asked
        self.assertEqual([server.name for server in listing.servers], ["free"])
        (fault,) = listing.faults
        self.assertEqual(
            (fault.host, fault.reason),
            (taken, "it did not answer in 5 s; is another program using it?"),
        )
        self.assertEqual((await self.driver.find_server("taken")).name, "taken")

    async def test_a_monitor_with_a_full_queue(self) -> None:
        """Other programs wait for it, too: its turn comes."""
        from twisted.internet import reactor

        self.qemu("taken")
        with contextlib.ExitStack() as others:
            result = 0
            while result == 0:
                other = others.enter_context(socket.socket(socket.AF_UNIX))
                other.setblocking(False)
                result = other.connect_ex(f"{self.directory}/taken.qmp")
            self.assertEqual(result, errno.EAGAIN)
            asked = Deferred.fromCoroutine(self.driver.find_server("taken"))
            for _turn in range(20):
                await deferLater(reactor, 0)
        self.assertEqual((await asked).name, "taken")

    async def test_no_monitor(self) -> None:
        """Something else that listens there is told as what it is."""
        self.assertIn("no JSON", await self.answer(b"RFB 003.008\n"))
        self.assertIn("closed the connection", await self.answer(b""))
