"""A real libvirt with real QEMU machines: their consoles, found and opened."""

from __future__ import annotations

import atexit
import contextlib
import socket
import struct
from functools import cache

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.compute.harness import ThreadedClock, until
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.libvirt_daemon import LibvirtDaemon
from tests.e2e.programs import Gateway, free_port
from vncproxy.compute.interface import Console, ServerNotFound
from vncproxy.model import Credentials

with contextlib.suppress(ImportError):  # then there is no daemon() either
    from vncproxy.compute.libvirt import LibvirtDriver, libvirt_hosts

_WEB = "11111111-2222-4333-8444-555555555555"
_DEVICES = """
<graphics type='vnc' autoport='yes' listen='127.0.0.1' passwd='pa55'/>
<graphics type='spice' autoport='yes' listen='0.0.0.0'/>
<serial type='tcp'><source mode='bind' host='127.0.0.1' service='{port}'/></serial>
"""
_SPICE_HELLO = b"REDQ" + struct.pack("<IIIIBBIII", 2, 2, 18, 0, 1, 0, 0, 0, 18)  # main channel


@cache
def daemon() -> LibvirtDaemon:
    """Return the libvirt that all these tests share, with a machine of each kind of console."""
    started = LibvirtDaemon()
    atexit.register(started.stop)
    started.run("web", _WEB, _DEVICES.format(port=free_port()))
    return started


class LibvirtTests(TestCase):
    def setUp(self) -> None:
        self.libvirt = daemon()
        self.clock = ThreadedClock()

    def driver(self, read_passwords: bool = False) -> LibvirtDriver:

        hosts = libvirt_hosts([self.libvirt.uri], {}, read_passwords, self.clock, 5)  # type: ignore[arg-type]
        driver = LibvirtDriver(hosts)
        self.addCleanup(driver.stop)
        return driver

    async def console(self, console_type: str, read_passwords: bool = False) -> Console:
        driver = self.driver(read_passwords)
        return await driver.find_console(await driver.find_server("web"), console_type)

    async def test_spice_and_serial(self) -> None:
        """Something of the right kind listens where each of them is said to be."""
        for console_type, sent, expected in (
            ("spice-html5", _SPICE_HELLO, b"REDQ"),
            ("serial", b"", b""),
        ):
            console = await self.console(console_type)
            with socket.create_connection((console.host, console.port), 30) as connection:
                connection.sendall(sent)
                self.assertEqual(connection.recv(4) if expected else b"", expected)

    async def test_the_password(self) -> None:
        """Libvirt tells it to a privileged reader, and to nobody else."""
        self.assertEqual((await self.console("novnc", True)).credentials, Credentials("pa55"))
        self.assertIsNone((await self.console("novnc")).credentials)

    async def test_a_hanging_daemon(self) -> None:
        """On an open connection: given up in time, and asked again once it has answered."""
        driver = self.driver()
        await driver.find_server("web")
        self.libvirt.freeze()
        self.addCleanup(self.libvirt.thaw)
        waits = Deferred.fromCoroutine(driver.list_servers())
        self.clock.advance(5)
        self.assertIn("did not answer in 5 s", (await waits).faults[0].reason)
        self.libvirt.thaw()
        await until(lambda: driver._hosts[0]._silent_since is None)
        listing = await driver.list_servers()
        self.assertEqual(listing.faults, ())
        self.assertEqual([server.name for server in listing.servers], ["web"])

    async def test_a_daemon_that_is_restarted(self) -> None:
        """Its machines run on; the next look-up connects again."""
        driver = self.driver()
        await driver.find_server("web")
        self.libvirt.program.stop()
        self.assertEqual(len((await driver.list_servers()).faults), 1)
        self.libvirt.start()
        self.assertEqual((await driver.find_server("web")).id, _WEB)

    async def test_a_machine_that_ends(self) -> None:
        """Between look-up and connection the gateway notices, and the user is told."""
        name, id = "brief", "21111111-2222-4333-8444-555555555555"
        self.libvirt.run(name, id, "<graphics type='vnc' autoport='yes'/>")
        driver = self.driver()
        server = await driver.find_server(name)
        console = await driver.find_console(server, "novnc")
        gateway = Gateway({"compute_driver": "libvirt", "libvirt_uris": self.libvirt.uri})
        self.addCleanup(gateway.stop)
        url = gateway.console_url(console.port, f"--instance={id}")
        with ScriptedBrowser(url) as browser:
            self.assertIn(b"QEMU", browser.open_console())
        self.libvirt.end(name)
        with self.assertRaises(ServerNotFound):
            await driver.find_console(server, "novnc")
        with ScriptedBrowser(url) as browser:
            self.assertIn("This console link is not valid", browser.read_refusal())
        gateway.program.wait_for("instance-gone")
