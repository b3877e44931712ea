"""A gateway that knows its machines: what happens to a token when its machine changes."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import Gateway

_ID = "11111111-2222-4333-8444-555555555555"
_NEW_LINK = "This console link is not valid or has expired. Open the console again."


class PortCheckTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)
        self.inventory = Path(self.mktemp()).absolute()
        self.write(f"[{{name: web, id: {_ID}, consoles: {{novnc: 'localhost:1'}}}}]")
        self.gateway = Gateway({"compute_driver": "inventory", "inventory_file": self.inventory})
        self.addCleanup(self.gateway.stop)

    def write(self, servers: str) -> None:
        self.inventory.write_text(f"servers: {servers}\n")

    def test_a_token_and_its_machine(self) -> None:
        """It opens while the console is the machine's, and not when another one's is there."""
        url = self.gateway.console_url(self.target.port, f"--instance={_ID}")
        with ScriptedBrowser(url) as browser:
            self.assertIn(_NEW_LINK, browser.read_refusal())
        self.gateway.program.wait_for("port-check-failed")
        self.write(
            f"[{{name: web, id: {_ID}, consoles: {{novnc: '127.0.0.1:{self.target.port}'}}}}]"
        )
        with ScriptedBrowser(url) as browser:
            browser.open_console()
        self.write("[]")
        with ScriptedBrowser(url) as browser:
            self.assertIn(_NEW_LINK, browser.read_refusal())
        self.gateway.program.wait_for("instance-gone")
        with ScriptedBrowser(self.gateway.console_url(self.target.port)) as browser:
            browser.open_console()  # a token for no machine
