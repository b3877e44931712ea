"""A domain's XML: which consoles it has, and XML that is not what it should be."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Tree

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.compute.domain_xml import Domain, DomainXmlFault, parse_domain
from vncproxy.compute.interface import NoSuchConsole
from vncproxy.compute.listening import Listening, usable
from vncproxy.model import Credentials


def domain_with(devices: str) -> Domain:
    return parse_domain(f"<domain id='3'><name>web</name><devices>{devices}</devices></domain>")


def console(domain: Domain, console_type: str) -> Listening:
    return usable(domain.devices, console_type, "web")


class GraphicsTests(SynchronousTestCase):
    def vnc(self, graphics: str) -> Listening:
        return console(domain_with(graphics), "novnc")

    def test_autoport(self) -> None:
        """The port that libvirt chose; what libvirt 9 writes for a running domain."""
        self.assertEqual(
            self.vnc(
                "<graphics type='vnc' port='5900' autoport='yes' websocket='5700' "
                "listen='127.0.0.1'><listen type='address' address='127.0.0.1'/></graphics>"
            ),
            Listening("127.0.0.1", 5900, websocket_port=5700),
        )

    def test_listening(self) -> None:
        """By address, by a network's address, by neither, and on a UNIX socket, old and new."""
        for xml, expected in (
            ("port='5901' listen='::'/>", Listening("::", 5901)),
            ("port='5901'/>", Listening("", 5901)),
            ("port='5901'><listen type='address'/></graphics>", Listening("", 5901)),
            (
                "port='5901'><listen type='network' address='10.1.0.5' network='mgmt'/></graphics>",
                Listening("10.1.0.5", 5901),
            ),
            ("socket='/run/v.sock'/>", Listening("", 0, socket="/run/v.sock")),
            (
                "><listen type='socket' socket='/run/v.sock'/></graphics>",
                Listening("", 0, socket="/run/v.sock"),
            ),
        ):
            self.assertEqual(self.vnc(f"<graphics type='vnc' {xml}"), expected, xml)

    def test_spice(self) -> None:
        """With both ports, or with one of them."""
        for ports, expected in (
            ("port='5901' tlsPort='5902'", Listening("10.0.0.1", 5901, tls_port=5902)),
            ("port='5901' tlsPort='-1'", Listening("10.0.0.1", 5901)),
            ("port='-1' tlsPort='5902'", Listening("10.0.0.1", 0, tls_port=5902)),
        ):
            domain = domain_with(f"<graphics type='spice' {ports} listen='10.0.0.1'/>")
            self.assertEqual(console(domain, "spice-html5"), expected)

    def test_a_password(self) -> None:
        """Where the XML tells it; no representation shows it."""
        domain = domain_with("<graphics type='vnc' port='5900' passwd='s3cret'/>")
        self.assertEqual(console(domain, "novnc").credentials, Credentials("s3cret"))
        self.assertNotIn("s3cret", repr(domain))

    def test_no_usable_console(self) -> None:
        """The operator learns what is wrong with the device, the user that there is none."""
        for xml, words in (
            ("<graphics type='vnc' port='-1' autoport='yes'/>", "no port (yet)"),
            ("<graphics type='vnc'><listen type='none'/></graphics>", "<listen type='none'>"),
            ("<graphics type='sdl' display=':0'/>", "Server web has no console of type novnc."),
            ("", "Server web has no console of type novnc."),
        ):
            with self.assertRaises(NoSuchConsole) as caught:
                self.vnc(xml)
            self.assertIn(words, str(caught.exception))
            self.assertEqual(caught.exception.words, "Server web has no console of type novnc.")

    def test_the_first_usable_one(self) -> None:
        """A device that can't be used does not hide one that can."""
        self.assertEqual(
            self.vnc("<graphics type='vnc' port='-1'/><graphics type='vnc' port='5901'/>").port,
            5901,
        )


class SerialTests(SynchronousTestCase):
    def serial(self, devices: str) -> Listening:
        return console(domain_with(devices), "serial")

    def tcp(self, source: str, protocol: str = "<protocol type='raw'/>") -> str:
        return f"<serial type='tcp'>{source}{protocol}<target port='0'/></serial>"

    def test_tcp(self) -> None:
        """What nova makes: a TCP device that listens."""
        for xml, expected in (
            ("<source mode='bind' host='0.0.0.0' service='10000'/>", Listening("0.0.0.0", 10000)),
            ("<source mode='bind' service='1' tls='no'/>", Listening("", 1)),
            ("<source mode='bind' host='h' service='1' tls='yes'/>", Listening("h", 0, 1)),
            (
                "<source mode='connect' host='x' service='9'/>"
                "<source mode='bind' host='h' service='1'/>",
                Listening("h", 1),
            ),
        ):
            self.assertEqual(self.serial(self.tcp(xml)), expected)

    def test_unix(self) -> None:
        """A socket that QEMU listens on."""
        self.assertEqual(
            self.serial("<serial type='unix'><source mode='bind' path='/run/s'/></serial>"),
            Listening("", 0, socket="/run/s"),
        )

    def test_a_console_element_only(self) -> None:
        """Machines without a UART have just that."""
        self.assertEqual(
            self.serial(
                "<console type='pty'/>"
                "<console type='tcp'><source mode='bind' host='h' service='7'/></console>"
            ),
            Listening("h", 7),
        )

    def test_no_usable_line(self) -> None:
        """Told with the reason."""
        for xml, words in (
            ("<serial type='pty'/>", "has no console of type serial."),
            (self.tcp("<source mode='connect' host='h' service='1'/>"), "does not listen"),
            (self.tcp("<source mode='bind' host='h' service='http'/>"), "no port number"),
            (
                self.tcp("<source mode='bind' service='1'/>", "<protocol type='telnet'/>"),
                "speaks telnet",
            ),
            ("<serial type='unix'><source mode='bind'/></serial>", "has no path"),
        ):
            with self.assertRaises(NoSuchConsole) as caught:
                self.serial(xml)
            self.assertIn(words, str(caught.exception))


def graphics_elements() -> st.SearchStrategy[Tree.Element]:
    """Return graphics devices with attributes of every kind, sensible and not."""
    port = st.sampled_from(["-1", "0", "5900", "65535", "65536", "५", "x", ""])
    attributes = st.fixed_dictionaries(
        {"type": st.sampled_from(["vnc", "spice", "sdl", ""])},
        optional={
            "port": port,
            "tlsPort": port,
            "websocket": port,
            "listen": st.sampled_from(["", "0.0.0.0", "::", "h"]),
            "socket": st.just("/run/s"),
            "passwd": st.just("p"),
        },
    )
    return attributes.map(lambda given: Tree.Element("graphics", given))


class AnythingTests(SynchronousTestCase):
    def test_running(self) -> None:
        """Only the XML of a running domain has an id."""
        self.assertFalse(parse_domain("<domain><name>off</name></domain>").running)
        self.assertTrue(domain_with("").running)

    def test_no_entities(self) -> None:
        """No file is read for an entity, none is blown up, and no DTD is heard at all."""
        secret = Path(self.mktemp()).absolute()
        secret.write_text("s3cret")
        for doctype, use in (
            (f'<!DOCTYPE d [<!ENTITY x SYSTEM "file://{secret}">]>', "&x;"),
            ('<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY x "&a;&a;">]>', "&x;"),
            ('<!DOCTYPE d SYSTEM "http://127.0.0.1:1/d.dtd">', ""),
        ):
            with self.assertRaises(DomainXmlFault) as caught:
                parse_domain(f"{doctype}<domain><name>{use}</name></domain>")
            self.assertNotIn("s3cret", str(caught.exception))

    @given(st.text(max_size=60) | st.text("<>/domain='\"&;! ", max_size=60))
    def test_any_text(self, text: str) -> None:
        """It is understood or refused."""
        for xml in (text, f"<domain>{text}</domain>", f"<domain><devices {text}/></domain>"):
            try:
                parse_domain(xml)
            except DomainXmlFault as fault:
                self.assertNotIn("\n", str(fault))

    @given(st.lists(graphics_elements(), max_size=4))
    def test_any_devices(self, devices: list[Tree.Element]) -> None:
        """What is found is where something can be dialled; what is not found is explained."""
        domain = Tree.Element("domain", {"id": "1"})
        Tree.SubElement(domain, "devices").extend(devices)
        parsed = parse_domain(Tree.tostring(domain, encoding="unicode"))
        for console_type in ("novnc", "spice-html5", "serial"):
            try:
                found = console(parsed, console_type)
            except NoSuchConsole as error:
                self.assertTrue(str(error))
                continue
            ports = [found.port or None, found.tls_port, found.websocket_port]
            self.assertTrue(all(0 < port < 65536 for port in ports if port is not None))
            self.assertTrue(found.socket or found.port or found.tls_port)
