"""What the gateway dials for a console that listens on this or that address of its host."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vncproxy.compute.interface import Console, NoSuchConsole
from vncproxy.compute.listening import Listening, Way, dialled
from vncproxy.model import Credentials

_REMOTE = Way("kvm1", local=False)
_LOCAL = Way("127.0.0.1", local=True)
_LOCAL_ELSEWHERE = Way("10.0.0.1", local=True)  # a gateway whose host is reached by this address


def dial(address: str, way: Way, **more: object) -> str:
    listening = Listening(address, 5900, **more)  # type: ignore[arg-type]
    return dialled(listening, "novnc", "web", way).host


class DialledTests(SynchronousTestCase):
    def test_every_address(self) -> None:
        """Means the host itself, by the way that leads to it."""
        for wildcard in ("", "0.0.0.0", "::", "*"):
            self.assertEqual(dial(wildcard, _REMOTE), "kvm1")
            self.assertEqual(dial(wildcard, _LOCAL_ELSEWHERE), "10.0.0.1")
        self.assertEqual(dial("0.0.0.0", _LOCAL), "127.0.0.1")
        self.assertEqual(dial("::", _LOCAL), "::1")

    def test_one_address(self) -> None:
        """Is dialled as it is."""
        for way in (_REMOTE, _LOCAL):
            for address in ("10.1.0.5", "fd00::7", "vnc.kvm1.example.com"):
                self.assertEqual(dial(address, way), address)

    def test_what_only_the_host_itself_reaches(self) -> None:
        """Loopback and UNIX sockets: dialled at home, and explained elsewhere."""
        for address, more in (
            ("127.0.0.1", {}),
            ("127.0.0.9", {}),
            ("::1", {}),
            ("localhost", {}),
            ("", {"socket": "/run/v.sock"}),
        ):
            expected = more.get("socket", address)
            self.assertEqual(dial(address, _LOCAL, **more), expected)
            self.assertEqual(dial(address, _LOCAL_ELSEWHERE, **more), expected)
            with self.assertRaises(NoSuchConsole) as caught:
                dial(address, _REMOTE, **more)
            self.assertIn(f"{expected} of kvm1 only", str(caught.exception))
            self.assertNotIn("kvm1", caught.exception.words)

    def test_the_rest_of_it(self) -> None:
        """Ports and credentials pass unchanged; a UNIX socket has no port."""
        listening = Listening("h", 1, 2, 3, credentials=Credentials("pw"))
        self.assertEqual(
            dialled(listening, "spice-html5", "web", _REMOTE),
            Console("spice-html5", "h", 1, 2, 3, credentials=Credentials("pw")),
        )
        self.assertEqual(
            dialled(Listening("", 7, socket="/run/s"), "serial", "web", _LOCAL),
            Console("serial", "/run/s", 0),
        )
