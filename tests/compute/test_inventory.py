"""The inventory as a driver: look-ups, changes of the file, and passwords in files."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import LogLevel, globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import TestCase

from vncproxy.compute.interface import (
    Console,
    ConsoleTypeUnsupported,
    HostUnreachable,
    NoSuchConsole,
    ServerAmbiguous,
    ServerNotFound,
    ServerNotRunning,
)
from vncproxy.compute.inventory import InventoryDriver
from vncproxy.model import Credentials

_IDS = ("11111111-2222-4333-8444-555555555555", "22222222-2222-4333-8444-555555555555")
_SAMPLE = f"""
servers:
  - name: web
    id: {_IDS[0]}
    consoles:
      novnc: 10.0.0.5:5901
  - name: off
    status: shutoff
    consoles: {{novnc: 'h:1'}}
  - name: locked
    consoles:
      novnc: {{host: h, port: 1, username: kim, password_file: locked.password}}
"""


class InventoryDriverTests(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "inventory.yaml"
        self.path.write_text(_SAMPLE)
        self.driver = InventoryDriver(str(self.path), reactor)  # type: ignore[arg-type]
        self.logged = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def rewrite(self, text: str) -> None:
        """Change the file as editors do, by a new one in its place."""
        new = self.directory / "new"
        new.write_text(text)
        new.rename(self.path)

    async def console(self, name: str, console_type: str = "novnc") -> Console:
        return await self.driver.find_console(await self.driver.find_server(name), console_type)

    async def test_listing(self) -> None:
        """By name, and without faults."""
        listing = await self.driver.list_servers()
        self.assertEqual([server.name for server in listing.servers], ["locked", "off", "web"])
        self.assertEqual(listing.faults, ())

    async def test_consoles(self) -> None:
        """By the server's name and by its id, in any case."""
        for name in ("web", _IDS[0], _IDS[0].upper()):
            self.assertEqual(await self.console(name), Console("novnc", "10.0.0.5", 5901))

    async def test_no_console(self) -> None:
        """Each reason is an error of its own, with words for the user."""
        for name, console_type, error in (
            ("nobody", "novnc", ServerNotFound),
            ("web/../off", "novnc", ServerNotFound),
            ("' OR 1=1 --", "novnc", ServerNotFound),
            ("off", "novnc", ServerNotRunning),
            ("web", "serial", NoSuchConsole),
            ("web", "webmks", ConsoleTypeUnsupported),
        ):
            with self.assertRaises(error) as caught:
                await self.console(name, console_type)
            self.assertTrue(caught.exception.words)

    async def test_two_of_one_name(self) -> None:
        """The ids tell them apart."""
        self.rewrite(
            f"servers: [{{name: a, id: {_IDS[0]}}}, {{name: a, id: {_IDS[1]}, status: paused}}]"
        )
        with self.assertRaises(ServerAmbiguous) as caught:
            await self.driver.find_server("a")
        self.assertEqual(caught.exception.ids, _IDS)
        self.assertEqual((await self.driver.find_server(_IDS[1])).name, "a")

    async def test_a_server_that_is_removed(self) -> None:
        """Between its look-up and its console's."""
        web = await self.driver.find_server("web")
        self.rewrite("servers: []")
        with self.assertRaises(ServerNotFound):
            await self.driver.find_console(web, "novnc")

    async def test_it_is_read_again(self) -> None:
        """When it has changed, and only then."""
        await self.console("web")
        self.rewrite(_SAMPLE.replace("5901", "5902"))
        self.assertEqual((await self.console("web")).port, 5902)
        os.utime(self.path, ns=(1, 1))
        self.assertEqual((await self.console("web")).port, 5902)

    async def test_a_change_for_the_worse(self) -> None:
        """What it said before still counts; listing and log tell the line, once."""
        await self.console("web")
        self.rewrite("servers:\n  - nmae: web\n")
        self.assertEqual((await self.console("web")).port, 5901)
        listing = await self.driver.list_servers()
        (fault,) = listing.faults
        self.assertEqual(len(listing.servers), 3)
        self.assertEqual(fault.host, str(self.path))
        self.assertIn("line 2: a server has no such key; did you mean name?", fault.reason)
        (event,) = [e for e in self.logged if e["log_level"] is LogLevel.error]
        self.assertIn("line 2", event["reason"])
        self.rewrite(_SAMPLE)
        self.assertEqual((await self.driver.list_servers()).faults, ())

    async def test_a_file_that_never_was(self) -> None:
        """Nothing can be said of any server; it counts from the moment it is there."""
        self.path.unlink()
        with self.assertRaises(HostUnreachable) as caught:
            await self.driver.find_server("web")
        self.assertIn("No such file", str(caught.exception))
        self.assertNotIn("inventory", caught.exception.words)
        listing = await self.driver.list_servers()
        self.assertEqual((listing.servers, len(listing.faults)), ((), 1))
        self.rewrite(_SAMPLE)
        self.assertEqual((await self.console("web")).port, 5901)

    async def test_not_utf_8(self) -> None:
        """Told by the line."""
        self.path.write_bytes(b"servers:\n- name: \xff\n")
        (fault,) = (await self.driver.list_servers()).faults
        self.assertEqual(fault.reason, "line 2: no UTF-8")

    async def test_a_byte_order_mark(self) -> None:
        """An editor's mark at the beginning is no text, of a password neither."""
        self.path.write_text(_SAMPLE, encoding="utf-8-sig")
        (self.directory / "locked.password").write_text("s3cret\n", encoding="utf-8-sig")
        console = await self.console("locked")
        self.assertEqual(console.credentials, Credentials("s3cret", "kim"))

    async def test_a_password_in_a_file(self) -> None:
        """Read when the console is looked up, beside the inventory, without its line's end."""
        (self.directory / "locked.password").write_text("s3cret\n")
        console = await self.console("locked")
        self.assertEqual(console.credentials, Credentials("s3cret", "kim"))
        self.assertNotIn("s3cret", repr(console))
        (self.directory / "locked.password").unlink()
        with self.assertRaises(NoSuchConsole) as caught:
            await self.console("locked")
        self.assertIn("locked.password: No such file", str(caught.exception))
        self.assertNotIn("locked.password", caught.exception.words)

    async def test_many_at_once(self) -> None:
        """While the file is read all wait for the one reading; one that gives up harms none."""
        asked = [Deferred.fromCoroutine(self.console("web")) for _ in range(20)]
        asked[0].cancel()
        asked[0].addErrback(lambda _cancelled: None)
        answers = await gatherResults(asked[1:])
        self.assertEqual({console.port for console in answers if console}, {5901})
