"""The libvirt driver on libvirt's own test hypervisor, and on hosts that fail or hang."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import TestCase

from tests.compute.harness import ThreadedClock, until
from tests.e2e.programs import cannot_test
from vncproxy.compute.interface import (
    Console,
    ConsoleTypeUnsupported,
    HostUnreachable,
    NoSuchConsole,
    ServerAmbiguous,
    ServerNotFound,
    ServerNotRunning,
)
from vncproxy.model import Credentials

try:
    from vncproxy.compute.libvirt import LibvirtDriver, libvirt_hosts
except ImportError:
    LibvirtDriver = None  # type: ignore[assignment, misc]

_IDS = [f"{digit}1111111-2222-4333-8444-555555555555" for digit in range(5)]
_DOMAIN = """
<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
  <name>{name}</name><uuid>{id}</uuid><memory>8192</memory><os><type>hvm</type></os>
  <devices>{devices}</devices>
  <test:runstate>{state}</test:runstate>
</domain>"""
_RUNNING, _PAUSED, _OFF, _CRASHED = 1, 3, 5, 6
_VNC = "<graphics type='vnc' port='5905' listen='0.0.0.0' websocket='5705' passwd='s3cret'/>"


class LibvirtTestCase(TestCase):
    def setUp(self) -> None:
        if LibvirtDriver is None:
            cannot_test("not installed: libvirt-python")
        self.clock = ThreadedClock()
        self.logged = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def host(self, *domains: str) -> str:
        """Return the URI of a host of libvirt's test hypervisor, with these domains."""
        path = Path(self.mktemp()).absolute()
        path.write_text(f"<node>{''.join(domains)}</node>")
        return f"test://{path}"

    def domain(
        self, name: str, id: str = _IDS[0], devices: str = _VNC, state: int = _RUNNING
    ) -> str:
        return _DOMAIN.format(name=name, id=id, devices=devices, state=state)

    def driver(self, *uris: str, passwords: bool = False, **addresses: str) -> LibvirtDriver:
        hosts = libvirt_hosts(uris, addresses, passwords, self.clock, 5)  # type: ignore[arg-type]
        driver = LibvirtDriver(hosts)
        self.addCleanup(driver.stop)
        return driver

    def silent_host(self) -> tuple[str, socket.socket]:
        """Return the URI of a host that takes connections and never says a word."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        return f"qemu+tcp://127.0.0.1:{listener.getsockname()[1]}/system", listener

    async def answered(self, driver: LibvirtDriver) -> None:
        """Wait until the second host, which does not hang, has answered all."""
        await until(lambda: driver._hosts[1]._threads.running == 0)


class LibvirtDriverTests(LibvirtTestCase):
    async def test_listing(self) -> None:
        """Every domain of every host by name, in nova's words for its state."""
        driver = self.driver(
            self.host(self.domain("web"), self.domain("db", _IDS[1], state=_PAUSED)),
            self.host(
                self.domain("old", _IDS[2], state=_OFF), self.domain("bad", _IDS[3], state=_CRASHED)
            ),
        )
        listing = await driver.list_servers()
        self.assertEqual(listing.faults, ())
        self.assertEqual(
            [(server.name, server.status.value) for server in listing.servers],
            [("bad", "ERROR"), ("db", "PAUSED"), ("old", "SHUTOFF"), ("web", "ACTIVE")],
        )

    async def test_libvirts_own_example(self) -> None:
        """test:///default has a domain without any console."""
        driver = self.driver("test:///default")
        server = await driver.find_server("test")
        with self.assertRaises(NoSuchConsole):
            await driver.find_console(server, "novnc")

    async def test_a_console(self) -> None:
        """Of a domain by name, and by UUID, in any case, on whichever host."""
        driver = self.driver(
            self.host(self.domain("other", _IDS[1])), self.host(self.domain("web"))
        )
        for name in ("web", _IDS[0], _IDS[0].upper(), _IDS[0].replace("-", "")):
            server = await driver.find_server(name)
            self.assertEqual((server.id, server.host), (_IDS[0], "localhost"))
            self.assertEqual(
                await driver.find_console(server, "novnc"),
                Console("novnc", "127.0.0.1", 5905, websocket_port=5705),
            )

    async def test_an_address_for_consoles(self) -> None:
        """Takes the place of the URI's host where a console listens on all addresses."""
        driver = self.driver(self.host(self.domain("web")), localhost="10.0.0.9")
        console = await driver.find_console(await driver.find_server("web"), "novnc")
        self.assertEqual(console.host, "10.0.0.9")

    async def test_passwords(self) -> None:
        """Are read where that is allowed, and only there."""
        host = self.host(self.domain("web"))
        for allowed, expected in ((True, Credentials("s3cret")), (False, None)):
            driver = self.driver(host, passwords=allowed)
            console = await driver.find_console(await driver.find_server("web"), "novnc")
            self.assertEqual(console.credentials, expected)

    async def test_no_console(self) -> None:
        """Each reason is an error of its own."""
        driver = self.driver(self.host(self.domain("web"), self.domain("off", _IDS[1], state=_OFF)))
        for name, console_type, error in (
            ("off", "novnc", ServerNotRunning),
            ("web", "serial", NoSuchConsole),
            ("web", "webmks", ConsoleTypeUnsupported),
            ("we", "novnc", ServerNotFound),
            ("", "novnc", ServerNotFound),
            ("../web", "novnc", ServerNotFound),
            ("w\0eb", "novnc", ServerNotFound),
            ("w\udcffeb", "novnc", ServerNotFound),
            (_IDS[4], "novnc", ServerNotFound),
        ):
            with self.assertRaises(error, msg=name) as caught:
                await driver.find_console(await driver.find_server(name), console_type)
            self.assertTrue(caught.exception.words)

    async def test_two_of_one_name(self) -> None:
        """On two hosts: told with both ids, by which they are told apart."""
        driver = self.driver(
            self.host(self.domain("web")), self.host(self.domain("web", _IDS[1], state=_OFF))
        )
        with self.assertRaises(ServerAmbiguous) as caught:
            await driver.find_server("web")
        self.assertEqual(caught.exception.ids, (_IDS[0], _IDS[1]))
        self.assertEqual((await driver.find_server(_IDS[1])).id, _IDS[1])

    async def test_defined_on_two_hosts(self) -> None:
        """As with failover: it is where it runs."""
        runs = self.domain("web", devices="<graphics type='vnc' port='5907' listen='10.0.0.5'/>")
        driver = self.driver(self.host(self.domain("web", state=_OFF)), self.host(runs))
        console = await driver.find_console(await driver.find_server("web"), "novnc")
        self.assertEqual((console.host, console.port), ("10.0.0.5", 5907))
        self.assertEqual(len((await driver.list_servers()).servers), 1)

    async def test_a_server_that_is_gone(self) -> None:
        """Between its look-up and its console's."""
        server = await self.driver(self.host(self.domain("web"))).find_server("web")
        with self.assertRaises(ServerNotFound):
            await self.driver(self.host()).find_console(server, "novnc")


class FailingHostTests(LibvirtTestCase):
    async def test_a_host_that_refuses(self) -> None:
        """The others answer; the listing and the log say which one fails, and why."""
        uri, listener = self.silent_host()
        listener.close()
        driver = self.driver(uri, self.host(self.domain("web")))
        self.assertEqual((await driver.find_server("web")).name, "web")
        listing = await driver.list_servers()
        (fault,) = listing.faults
        self.assertEqual((fault.host, len(listing.servers)), ("127.0.0.1", 1))
        self.assertIn("Connection refused", fault.reason)
        with self.assertRaises(HostUnreachable) as caught:
            await driver.find_server("elsewhere")
        self.assertIn("127.0.0.1: ", str(caught.exception))
        self.assertNotIn("127.0.0.1", caught.exception.words)
        warnings = [event for event in self.logged if "fails: {reason}" in event["log_format"]]
        self.assertEqual(len(warnings), 1)

    async def test_a_host_that_hangs(self) -> None:
        """The first look-up waits as long as it may; later ones do not wait for that host."""
        uri, _listener = self.silent_host()
        driver = self.driver(uri, self.host(self.domain("web")))
        first = Deferred.fromCoroutine(driver.find_server("web"))
        await self.answered(driver)
        self.clock.advance(4.9)
        self.assertFalse(first.called)
        self.clock.advance(0.2)
        self.assertEqual((await first).name, "web")
        self.assertEqual((await driver.find_server("web")).name, "web")  # at once: no clock moved
        (fault,) = (await driver.list_servers()).faults
        self.assertEqual(fault.reason, "it has not answered for 5 s")

    async def test_many_look_ups_while_a_host_hangs(self) -> None:
        """They end together, and leave no more threads than the host may have."""
        uri, _listener = self.silent_host()
        driver = self.driver(uri, self.host(self.domain("web")))
        asked = [Deferred.fromCoroutine(driver.find_server("web")) for _ in range(50)]
        await self.answered(driver)
        self.clock.advance(5.1)
        for found in asked:
            self.assertEqual((await found).name, "web")
        (hanging, _healthy) = driver._hosts
        self.assertLessEqual(hanging._threads.running, 4)

    async def test_a_hanging_host_is_tried_again(self) -> None:
        """After half a minute, by one look-up; and as soon as it has said anything."""
        uri, listener = self.silent_host()
        driver = self.driver(uri, self.host())

        async def reason() -> str:
            return (await driver.list_servers()).faults[0].reason

        for silent_s in (5, 40):
            waits = Deferred.fromCoroutine(driver.list_servers())
            self.clock.advance(5)
            self.assertIn("did not answer in 5 s", (await waits).faults[0].reason)
            self.assertIn(f"has not answered for {silent_s} s", await reason())
            self.clock.advance(30 - 5)
            self.assertIn("has not answered", await reason())
            self.clock.advance(5)
        listener.close()  # the hanging calls fail by that
        await until(lambda: driver._hosts[0]._silent_since is None)
        self.assertIn("Connection refused", await reason())

    async def test_a_user_who_leaves(self) -> None:
        """Cancelling ends the wait; the next look-up is not harmed."""
        uri, _listener = self.silent_host()
        driver = self.driver(uri, self.host(self.domain("web")))
        leaves = Deferred.fromCoroutine(driver.find_server("web"))
        leaves.cancel()
        self.failureResultOf(leaves, CancelledError)
        stays = Deferred.fromCoroutine(driver.find_server("web"))
        await self.answered(driver)
        self.clock.advance(5.1)
        self.assertEqual((await stays).name, "web")

    async def test_ssh_asks_nobody(self) -> None:
        """A question of ssh's on the gateway's terminal would never be answered."""
        ssh, said = (Path(self.mktemp()).absolute() for _ in range(2))
        ssh.write_text(f'#!/bin/sh\necho "$@" > {said}\nexit 1\n')
        ssh.chmod(0o755)
        driver = self.driver(f"qemu+ssh://kvm1/system?command={ssh}")
        (fault,) = (await driver.list_servers()).faults
        self.assertEqual(fault.host, "kvm1")
        self.assertIn("BatchMode=yes", said.read_text())


class HostsTests(LibvirtTestCase):
    def test_names_and_ways(self) -> None:
        """A host is called what its URI calls it; one without a host is this one."""
        uris = (
            "qemu:///system",
            "qemu+tls://kvm1.example.com/system",
            "qemu+ssh://root@[fd00::7]:2222/system",
            "qemu+tcp://127.0.0.1/system",
        )
        hosts = libvirt_hosts(uris, {"kvm1.example.com": "10.0.0.1"}, False, self.clock, 5)  # type: ignore[arg-type]
        self.assertEqual(
            [(host.name, host.way.address, host.way.local) for host in hosts],
            [
                ("localhost", "127.0.0.1", True),
                ("kvm1.example.com", "10.0.0.1", False),
                ("fd00::7", "fd00::7", False),
                ("127.0.0.1", "127.0.0.1", True),
            ],
        )

    def test_mistakes(self) -> None:
        """Are told in one line."""
        for uris, addresses, words in (
            ((), {}, "no URI at all"),
            (("kvm1",), {}, "kvm1 is no libvirt URI"),
            (("qemu://[kvm1/system",), {}, "is no URI"),
            (("qemu:///system",), {"kvm1": "10.0.0.1"}, "an address for kvm1, which is the host"),
        ):
            with self.assertRaisesRegex(ValueError, words):
                libvirt_hosts(uris, addresses, False, self.clock, 5)  # type: ignore[arg-type]
