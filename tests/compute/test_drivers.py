"""The driver of a configuration, and the one line for each mistake in it."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.programs import cannot_test
from vncproxy.compute.drivers import driver_for
from vncproxy.compute.interface import ComputeDriver
from vncproxy.compute.inventory import InventoryDriver
from vncproxy.compute.qmp import QmpDriver
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

    def test_libvirt(self) -> None:
        """It needs URIs, and addresses only for hosts that those name."""
        try:
            from vncproxy.compute.libvirt import LibvirtDriver
        except ImportError:
            cannot_test("not installed: libvirt-python")
        self.assertIsInstance(self.driver("compute_driver = libvirt"), LibvirtDriver)
        for options, words in (
            ("libvirt_uris =", "libvirt_uris, libvirt_addresses: no URI at all"),
            ("libvirt_uris = kvm1", "kvm1 is no libvirt URI"),
            ("libvirt_addresses = kvm1:10.0.0.1", "kvm1, which is the host of no URI"),
        ):
            self.assertIn(words, self.fault(f"compute_driver = libvirt\n{options}"))

    def test_libvirt_that_is_not_installed(self) -> None:
        """The line says how to install it."""
        with patch.dict(sys.modules, {"vncproxy.compute.libvirt": None}):
            self.assertIn("pip install 'vncproxy[libvirt]'", self.fault("compute_driver = libvirt"))

    def test_qmp(self) -> None:
        """It needs sockets, whether they are there yet or not."""
        self.assertIn("qmp_sockets", self.fault("compute_driver = qmp"))
        options = "compute_driver = qmp\nqmp_sockets = /run/qemu/*.qmp, /tmp/one.sock"
        self.assertIsInstance(self.driver(options), QmpDriver)
