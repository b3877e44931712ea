"""Tells twistd of the gateway; imports nothing of it, because twistd reads every plugin."""

from twisted.application.service import ServiceMaker

vncproxy = ServiceMaker(
    "vncproxy",
    "vncproxy.tap",
    "Gateway from browsers to the consoles of virtual machines.",
    "vncproxy",
)
