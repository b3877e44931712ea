"""The driver of a configuration, and the one line for each mistake in it."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.compute.drivers import driver_for
from vncproxy.compute.interface import ComputeDriver
from vncproxy.compute.inventory import InventoryDriver
from vncproxy.config.read import ConfigError, read_settings


class DriverForTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def driver(self, options: str) -> ComputeDriver | None:
        config = self.directory / "vncproxy.conf"
        config.write_text(f"[vncproxy]\n{options}\n")
        return driver_for(read_settings([f"--config-file={config}"], "vncproxy"), Clock())

    def fault(self, options: str) -> str:
        with self.assertRaises(ConfigError) as caught:
            self.driver(options)
        return str(caught.exception)

    def test_none(self) -> None:
        """Without the option there is no driver."""
        self.assertIsNone(self.driver(""))

    def test_unknown(self) -> None:
        """A driver that does not exist is refused, and those that do are named."""
        self.assertIn("inventory", self.fault("compute_driver = vmware"))

    def test_inventory(self) -> None:
        """It needs a file, which must be right when the gateway starts."""
        self.assertIn("inventory_file", self.fault("compute_driver = inventory"))
        path = self.directory / "servers.yaml"
        options = f"compute_driver = inventory\ninventory_file = {path}"
        self.assertIn(f"{path}: No such file", self.fault(options))
        path.write_text("servers:\n  web1:\n")
        self.assertIn(f"{path}, line 2: servers must be a list", self.fault(options))
        path.write_text("servers: [{name: web1}]\n")
        self.assertIsInstance(self.driver(options), InventoryDriver)
