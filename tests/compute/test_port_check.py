"""The check of a token's console at the moment it is opened, through a real inventory."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.helpers import grant_for
from vncproxy.compute.inventory import InventoryDriver
from vncproxy.compute.port_check import DriverPortCheck
from vncproxy.errors import InstanceGone, PortCheckFailed, PortCheckUnavailable
from vncproxy.model import NO_INSTANCE, Token

_SAMPLE = """
servers:
  - name: web
    id: 11111111-2222-4333-8444-555555555555
    consoles:
      novnc: 192.0.2.7:5900
      spice-html5: {host: 192.0.2.7, port: 5930, tls_port: 5931}
"""


class DriverPortCheckTests(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.path = Path(self.mktemp())
        self.path.write_text(_SAMPLE)
        self.check = DriverPortCheck(InventoryDriver(str(self.path), reactor))  # type: ignore[arg-type]

    def rewrite(self, text: str) -> None:
        new = Path(self.mktemp())
        new.write_text(text)
        new.rename(self.path)

    async def check_of(self, **changes: object) -> None:
        await self.check.check(grant_for(Token.new(), **changes))

    async def test_it_still_is(self) -> None:
        """By either of its ports."""
        await self.check_of()
        await self.check_of(console_type="spice-html5", port=5930)
        await self.check_of(console_type="spice-html5", port=5931)

    async def test_another_place(self) -> None:
        """Another port, host or type of console is not what the machine has."""
        for changes in (
            {"port": 5901},
            {"host": "192.0.2.8"},
            {"console_type": "serial"},
            {"console_type": "spice-html5"},
            {"console_type": "webmks"},
        ):
            with self.assertRaises(PortCheckFailed) as caught:
                await self.check_of(**changes)
            self.assertNotIn("192.0.2", caught.exception.words)

    async def test_it_moved(self) -> None:
        """The token was right when it was made."""
        await self.check_of()
        self.rewrite(_SAMPLE.replace("5900", "5902"))
        with self.assertRaises(PortCheckFailed) as caught:
            await self.check_of()
        self.assertIn("192.0.2.7:5900 is no novnc console of web any more", str(caught.exception))

    async def test_it_stopped(self) -> None:
        """The user is told what to do."""
        self.rewrite(_SAMPLE + "    status: shutoff\n")
        with self.assertRaises(PortCheckFailed) as caught:
            await self.check_of()
        self.assertIn("not running", caught.exception.words)

    async def test_it_is_gone(self) -> None:
        """The machine was deleted."""
        self.rewrite("servers: []")
        with self.assertRaises(InstanceGone):
            await self.check_of()

    async def test_nobody_knows(self) -> None:
        """Where it can't be found out the console stays closed."""
        self.path.unlink()
        with self.assertRaises(PortCheckUnavailable):
            await self.check_of()

    async def test_a_token_for_no_machine(self) -> None:
        """Made by hand for a host and a port, it opens those."""
        await self.check_of(instance_uuid=NO_INSTANCE, port=1)
