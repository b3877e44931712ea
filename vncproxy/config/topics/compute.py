"""Who knows which server has which console."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oslo_config import cfg

from vncproxy.config.topic import Topic


@dataclass(frozen=True, slots=True)
class Compute:
    """The values of these options of ``[vncproxy]``."""

    compute_driver: Literal["inventory", "libvirt", "qmp"] | None
    compute_timeout: float
    inventory_file: str | None
    libvirt_uris: tuple[str, ...]
    libvirt_addresses: dict[str, str]
    libvirt_read_passwords: bool
    qmp_sockets: tuple[str, ...]


OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "compute_driver",
        choices=["inventory", "libvirt", "qmp"],
        help="Who knows the servers and their consoles: inventory, a file; libvirt, on one or "
        "many hosts; or qmp, QEMU's own monitors. See docs/compute.md. Unset: nobody, and tokens "
        "are made for a host and a port.",
    ),
    cfg.FloatOpt(
        "compute_timeout",
        default=5.0,
        min=0.1,
        help="Seconds that a look-up of servers or of a console may take.",
    ),
    cfg.StrOpt(
        "inventory_file",
        help="YAML file of the servers and their consoles, for `compute_driver = inventory`. "
        "Read again when it changes.",
    ),
    cfg.ListOpt(
        "libvirt_uris",
        default=["qemu:///system"],
        help="URIs of the hosts' libvirts, for `compute_driver = libvirt`: `qemu:///system, "
        "qemu+tls://kvm1.example.com/system, qemu+ssh://vncproxy@kvm2.example.com/system`.",
    ),
    cfg.DictOpt(
        "libvirt_addresses",
        default={},
        help="Addresses by which consoles of certain hosts are reached, where it is not by the "
        "host of the URI: `kvm1.example.com:10.0.0.1, localhost:10.0.0.9`. It counts for "
        "consoles that listen on every address of their host.",
    ),
    cfg.BoolOpt(
        "libvirt_read_passwords",
        default=False,
        help="Read the domains' VNC and SPICE passwords from libvirt, so that their users need "
        "none. libvirt tells them only to those who may change domains; without this the "
        "connections are read-only.",
    ),
    cfg.ListOpt(
        "qmp_sockets",
        default=[],
        help="UNIX sockets of QEMU's monitors, for `compute_driver = qmp`; `*` stands for "
        "any characters: `/run/qemu/*.qmp`. A monitor talks to one program at a time.",
    ),
]

TOPIC = Topic("compute", "vncproxy", OPTIONS, Compute)
