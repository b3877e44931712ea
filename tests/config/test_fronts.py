"""Which listeners are opened for which kinds of console, and where."""

from __future__ import annotations

from pathlib import Path

from tests.config.test_read import ReadTestCase
from vncproxy.config.library import library_for
from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings
from vncproxy.kinds import SERIAL, SPICE

_NOVAS = "[database]\nconnection = mysql+pymysql://nova:pw@db/nova\n"


def served(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the endpoint strings by kind of console."""
    return {front.kind.console_type: front.listeners for front in settings.served}


class ServedTests(ReadTestCase):
    def test_the_default(self) -> None:
        """NoVNC alone."""
        self.assertEqual(list(served(self.read())), ["novnc"])

    def test_what_nova_s_groups_enable(self) -> None:
        """A nova.conf that has serial or SPICE consoles gets their listeners, at nova's ports."""
        settings = self.read(f"{_NOVAS}[serial_console]\nenabled = True\n")
        self.assertEqual(
            served(settings),
            {
                "novnc": ("tcp:6080:interface=0.0.0.0",),
                "serial": ("tcp:6083:interface=0.0.0.0",),
            },
        )
        settings = self.read(f"{_NOVAS}[vnc]\nenabled = False\n[spice]\nenabled = True\n")
        self.assertEqual(served(settings), {"spice-html5": ("tcp:6082:interface=0.0.0.0",)})

    def test_nothing_enabled(self) -> None:
        """nova-novncproxy does not read [vnc] enabled: then it is noVNC."""
        self.assertEqual(list(served(self.read("[vnc]\nenabled = False\n"))), ["novnc"])

    def test_chosen(self) -> None:
        """[vncproxy] consoles has the last word, as in the place of nova-serialproxy alone."""
        settings = self.read("[vncproxy]\nconsoles = serial\n[spice]\nenabled = True\n")
        self.assertEqual(list(served(settings)), ["serial"])
        settings = self.read("", "--vncproxy-consoles", "spice-html5, novnc, novnc")
        self.assertEqual(list(served(settings)), ["novnc", "spice-html5"])

    def test_an_unknown_kind(self) -> None:
        """The line names the option and the kinds there are."""
        with self.assertRaises(ConfigError) as caught:
            self.read("[vncproxy]\nconsoles = telnet\n")
        self.assertRegex(str(caught.exception), r"\[vncproxy\] consoles: .*novnc.*serial")

    def test_nova_s_flags(self) -> None:
        """Those of nova-serialproxy and nova-spicehtml5proxy."""
        settings = self.read(
            "[vncproxy]\nconsoles = serial, spice-html5\n",
            *("--serial_console-serialproxy_host", "::1", "--serial_console-serialproxy_port=1"),
            *("--spice-html5proxy_host", "192.0.2.1", "--spice-html5proxy_port=2"),
        )
        self.assertEqual(
            settings.listeners, (r"tcp6:1:interface=\:\:1", "tcp:2:interface=192.0.2.1")
        )

    def test_endpoint_strings(self) -> None:
        """Each kind has an option of its own for them, and leaves the others where they are."""
        settings = self.read(
            "[vncproxy]\nconsoles = novnc, serial, spice-html5\nlisten = unix:/run/a\n"
            "listen_serial = unix:/run/b\nlisten_serial = tcp:1\n"
        )
        self.assertEqual(
            served(settings),
            {
                "novnc": ("unix:/run/a",),
                "serial": ("unix:/run/b", "tcp:1"),
                "spice-html5": ("tcp:6082:interface=127.0.0.1",),
            },
        )

    def test_tls(self) -> None:
        """Nova's certificate is that of all; ssl_only demands it, of nova's addresses here."""
        cert = self.file("a certificate")
        text = f"[DEFAULT]\ncert = {cert}\n[vncproxy]\nconsoles = novnc, serial, spice-html5\n"
        self.assertTrue(all(each.startswith("https:tcp") for each in self.read(text).listeners))
        bare = "[DEFAULT]\nssl_only = True\n[vncproxy]\nlisten = tcp:1\nconsoles = novnc"
        self.read(bare)
        with self.assertRaises(ConfigError):
            self.read(f"{bare}, serial")


class PlaceTests(ReadTestCase):
    def test_base_urls(self) -> None:
        """Nova's with its database; with the embedded one, of the pages on this machine."""
        self.assertEqual(
            self.read(_NOVAS).base_urls,
            {
                "novnc": "http://127.0.0.1:6080/vnc_auto.html",
                "serial": "ws://127.0.0.1:6083/",
                "spice-html5": "http://127.0.0.1:6082/spice_auto.html",
            },
        )
        embedded = self.read(
            "[serial_console]\nserialproxy_port = 1\n[spice]\nhtml5proxy_port = 2\n"
        )
        self.assertEqual(embedded.base_urls["serial"], "http://127.0.0.1:1/")
        self.assertEqual(embedded.base_urls["spice-html5"], "http://127.0.0.1:2/spice_auto.html")

    def test_spice_html5(self) -> None:
        """Its own option, else nova's `web` where that is not noVNC's, else the distribution's."""
        web, other = Path(self.mktemp()).absolute(), Path(self.mktemp()).absolute()
        web.mkdir()
        other.mkdir()
        text = f"[DEFAULT]\nweb = {web}\n[vncproxy]\nconsoles = spice-html5"
        self.assertEqual(library_for(self.read(text), SPICE).root, web)
        chosen = self.read(f"{text}\nspice_web = {other}")
        self.assertEqual(library_for(chosen, SPICE).root, other)
        self.assertNotEqual(library_for(self.read(f"{text}, novnc"), SPICE).root, web)
        self.assertIn("has no spice_auto.html", str(library_for(self.read(text), SPICE).fault))

    def test_xterm(self) -> None:
        """It is optional; a directory that is not there is refused."""
        library = library_for(self.read(), SERIAL)
        self.assertEqual((library.root, library.optional), (None, True))
        with self.assertRaises(ConfigError) as caught:
            self.read("[vncproxy]\nxterm = /nowhere\n")
        self.assertIn("[vncproxy] xterm: Can not find html/js files", str(caught.exception))
