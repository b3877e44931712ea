"""The driver that a configuration names."""

from __future__ import annotations

from typing import Any

from vncproxy.compute.interface import ComputeDriver
from vncproxy.compute.inventory import InventoryDriver, read_inventory
from vncproxy.compute.inventory_file import InventoryFault
from vncproxy.compute.qmp import QmpDriver
from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings


def driver_for(settings: Settings, reactor: Any) -> ComputeDriver | None:  # noqa: ANN401  all of its interfaces
    """Return the driver of ``[vncproxy] compute_driver``, or None where there is none.

    Whoever asks for it calls ``stop`` in the end.

    Raises:
        ConfigError: what it needs is missing or wrong.
    """
    if settings.compute.compute_driver == "inventory":
        return _inventory(settings, reactor)
    if settings.compute.compute_driver == "libvirt":
        return _libvirt(settings, reactor)
    if settings.compute.compute_driver == "qmp":
        return _qmp(settings, reactor)
    return None


def _inventory(settings: Settings, reactor: Any) -> ComputeDriver:  # noqa: ANN401
    path = settings.compute.inventory_file
    if not path:
        raise ConfigError(
            "[vncproxy] compute_driver: inventory needs [vncproxy] inventory_file, the path of a "
            "YAML file; see docs/compute.md"
        )
    try:
        read_inventory(path)  # the driver reads it again; a fault at start is to end the start
    except InventoryFault as fault:
        raise ConfigError(f"[vncproxy] inventory_file: {path}, {fault}") from fault
    except OSError as error:
        raise ConfigError(f"[vncproxy] inventory_file: {path}: {error.strerror}") from error
    return InventoryDriver(path, reactor)


def _libvirt(settings: Settings, reactor: Any) -> ComputeDriver:  # noqa: ANN401
    try:
        from vncproxy.compute.libvirt import LibvirtDriver, libvirt_hosts
    except ImportError as error:
        raise ConfigError(
            "[vncproxy] compute_driver: libvirt needs libvirt-python and defusedxml; "
            f"pip install 'vncproxy[libvirt]' ({error})"
        ) from error
    options = settings.compute
    try:
        hosts = libvirt_hosts(
            options.libvirt_uris,
            options.libvirt_addresses,
            options.libvirt_read_passwords,
            reactor,
            options.compute_timeout,
        )
    except ValueError as error:
        raise ConfigError(f"[vncproxy] libvirt_uris, libvirt_addresses: {error}") from error
    return LibvirtDriver(hosts)


def _qmp(settings: Settings, reactor: Any) -> ComputeDriver:  # noqa: ANN401
    if not settings.compute.qmp_sockets:
        raise ConfigError(
            "[vncproxy] compute_driver: qmp needs [vncproxy] qmp_sockets, such as /run/qemu/*.qmp"
        )
    return QmpDriver(settings.compute.qmp_sockets, reactor, settings.compute.compute_timeout)
