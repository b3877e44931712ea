"""The consoles of a libvirt domain, out of its live XML. Pure: text in, values out.

Source: https://libvirt.org/formatdomain.html, "Graphical framebuffers" and "Consoles, serial,
parallel & channel devices".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring

from vncproxy.compute.interface import NOVNC, SERIAL, SPICE
from vncproxy.compute.listening import Devices, Listening
from vncproxy.model import Credentials

_GRAPHICS = {"vnc": NOVNC, "spice": SPICE}


class DomainXmlFault(Exception):
    """The text is no description of a domain."""


@dataclass(frozen=True, slots=True)
class Domain:
    """What a domain's XML says of its consoles.

    Attributes:
        running: whether it is the XML of a running domain, the only one that knows ports.
        devices: those that are consoles, in the XML's order.
    """

    running: bool
    devices: Devices


def parse_domain(xml: str) -> Domain:
    """Return what the XML says.

    Entities and external references are refused, not followed.

    Raises:
        DomainXmlFault: it is no domain's XML.
    """
    try:
        domain = fromstring(xml, forbid_dtd=True)
    except Exception as error:  # of the parser, of defusedxml, or of the text's encoding
        raise DomainXmlFault(f"its XML can't be read: {type(error).__name__}") from None
    if domain.tag != "domain":
        raise DomainXmlFault("its XML is not a domain's")
    return Domain(
        running="id" in domain.attrib,
        devices=(*_graphics(domain), *_serial_lines(domain)),
    )


def _graphics(domain: Element) -> Iterator[tuple[str, Listening | str]]:
    for graphics in domain.findall("devices/graphics"):
        console_type = _GRAPHICS.get(graphics.get("type", ""))
        if console_type is not None:
            yield console_type, _graphics_listening(graphics)


def _graphics_listening(graphics: Element) -> Listening | str:
    listen = graphics.find("listen")
    kind = "address" if listen is None else listen.get("type", "address")
    socket = graphics.get("socket") or (listen.get("socket") if listen is not None else None)
    if socket:
        return Listening("", 0, socket=socket, credentials=_credentials(graphics))
    if kind not in ("address", "network"):
        return f"its graphics device listens on no address, but has <listen type='{kind}'>"
    address = graphics.get("listen") or ""
    if listen is not None:
        address = listen.get("address") or address
    port, tls_port = _port(graphics.get("port")), _port(graphics.get("tlsPort"))
    if port is None and tls_port is None:
        return "its graphics device has no port (yet)"
    return Listening(
        address,
        port or 0,
        tls_port,
        _port(graphics.get("websocket")),
        credentials=_credentials(graphics),
    )


def _serial_lines(domain: Element) -> Iterator[tuple[str, Listening | str]]:
    # The first <console> of most machines repeats the first <serial>; others have only that.
    for line in (*domain.findall("devices/serial"), *domain.findall("devices/console")):
        kind = line.get("type")
        if kind in ("tcp", "unix"):
            yield SERIAL, _serial_listening(line, kind)


def _serial_listening(line: Element, kind: str) -> Listening | str:
    # A tcp device may have two sources; the one that it listens on is in mode bind.
    source = line.find("source[@mode='bind']")
    if source is None:
        return "its serial line does not listen: <source mode='connect'>"
    if kind == "unix":
        path = source.get("path")
        return Listening("", 0, socket=path) if path else "its serial line has no path (yet)"
    protocol = line.find("protocol")
    if protocol is not None and protocol.get("type", "raw") not in ("raw", "tls"):
        return f"its serial line speaks {protocol.get('type')}; only raw is understood"
    port = _port(source.get("service"))
    if port is None:
        return "its serial line has no port number"
    tls = source.get("tls") == "yes" or (protocol is not None and protocol.get("type") == "tls")
    return Listening(source.get("host") or "", 0 if tls else port, port if tls else None)


def _credentials(graphics: Element) -> Credentials | None:
    password = graphics.get("passwd")
    return Credentials(password) if password else None


def _port(text: str | None) -> int | None:
    """Return the port; None for none, or for -1: not given yet, or not at all."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 5:
        return None
    port = int(text)
    return port if 0 < port < 65536 else None
