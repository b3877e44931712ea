"""A gateway that knows its machines: what happens to a token when its machine changes."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import Gateway, cannot_test

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


class HangingHostTests(SynchronousTestCase):
    def test_a_host_that_hangs(self) -> None:
        """Users are told to try again; the gateway stops all the same."""
        try:
            import libvirt  # noqa: F401
        except ImportError:
            cannot_test("not installed: libvirt-python")
        with socket.create_server(("127.0.0.1", 0)) as silent:
            uri = f"qemu+tcp://127.0.0.1:{silent.getsockname()[1]}/system"
            gateway = Gateway(
                {"compute_driver": "libvirt", "libvirt_uris": uri, "compute_timeout": 0.2}
            )
            self.addCleanup(gateway.stop)
            with ScriptedBrowser(gateway.console_url(1, f"--instance={_ID}")) as browser:
                self.assertIn("Try again in a minute", browser.read_refusal())
            gateway.program.wait_for("port-check-unavailable")
            gateway.program.terminate()
            self.assertEqual(gateway.program.wait(), -signal.SIGTERM)
