"""What QEMU's answers say; the samples are a QEMU 7.2's own."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.compute.interface import NoSuchConsole, Server, Status
from vncproxy.compute.listening import Listening, usable
from vncproxy.compute.lookup import made_up_id
from vncproxy.compute.qmp_answers import ABOUT_CONSOLES, consoles_of, server_of

_ID = "11111111-2222-4333-8444-555555555555"


def console(console_type: str, **answers: object) -> Listening:
    return usable(
        consoles_of({name.replace("_", "-"): answers[name] for name in answers}),
        console_type,
        "web",
    )


_WORDS = st.sampled_from(
    ["serial0", "disconnected:tcp:h:7,server=on", "unix:/s,server", "/run/s", "unix", "7077", "*"]
)


class ServerTests(SynchronousTestCase):
    def test_a_server(self) -> None:
        """By its own name and UUID."""
        answers = {
            "query-name": {"name": "my vm"},
            "query-uuid": {"UUID": _ID},
            "query-status": {"status": "prelaunch", "singlestep": False, "running": False},
        }
        self.assertEqual(
            server_of(answers, "/run/a.qmp"), Server(_ID, "my vm", Status.PAUSED, "/run/a.qmp")
        )

    def test_a_server_without_a_name(self) -> None:
        """Its socket gives it one, and a UUID that stays the same."""
        answers = {
            "query-name": {},
            "query-uuid": {"UUID": "00000000-0000-0000-0000-000000000000"},
            "query-status": {"status": "running"},
        }
        self.assertEqual(
            server_of(answers, "/run/a.qmp"),
            Server(made_up_id("/run/a.qmp"), "a", Status.ACTIVE, "/run/a.qmp"),
        )

    def test_states(self) -> None:
        """In nova's words."""
        for state, status in (
            ("running", Status.ACTIVE),
            ("paused", Status.PAUSED),
            ("inmigrate", Status.PAUSED),
            ("suspended", Status.SUSPENDED),
            ("shutdown", Status.SHUTOFF),
            ("io-error", Status.ERROR),
            (None, Status.UNKNOWN),
        ):
            server = server_of({"query-status": {"status": state}}, "/run/a.qmp")
            self.assertIs(server.status, status)


class ConsoleTests(SynchronousTestCase):
    def test_vnc(self) -> None:
        """With a WebSocket, on both families, and on a UNIX socket."""
        websocket = {"family": "ipv4", "service": "5777", "host": "127.0.0.1", "websocket": True}
        plain = {"family": "ipv4", "service": "5977", "host": "127.0.0.1", "websocket": False}
        six = {"family": "ipv6", "service": "7077", "host": "::", "websocket": False}
        unix = {"family": "unix", "service": "/run/v.sock", "host": "", "websocket": False}
        for addresses, expected in (
            ([websocket, plain], Listening("127.0.0.1", 5977, websocket_port=5777)),
            ([six, plain], Listening("::", 7077)),
            ([unix], Listening("", 0, socket="/run/v.sock")),
        ):
            servers = [{"id": "default", "auth": "none", "clients": [], "server": addresses}]
            self.assertEqual(console("novnc", query_vnc_servers=servers), expected)

    def test_vnc_of_an_old_qemu(self) -> None:
        """It has no query-vnc-servers."""
        answer = {"enabled": True, "family": "ipv4", "service": "7077", "host": "0.0.0.0"}
        found = console("novnc", query_vnc_servers=None, query_vnc=answer)
        self.assertEqual(found, Listening("0.0.0.0", 7077))

    def test_spice(self) -> None:
        """With one port, with both, and on a UNIX socket."""
        for answer, expected in (
            ({"enabled": True, "port": 5998, "host": "*"}, Listening("*", 5998)),
            ({"port": 1, "tls-port": 2, "host": "h"}, Listening("h", 1, tls_port=2)),
            ({"tls-port": 2, "host": "h"}, Listening("h", 0, tls_port=2)),
            ({"enabled": True, "host": "/run/s.sock"}, Listening("", 0, socket="/run/s.sock")),
        ):
            self.assertEqual(console("spice-html5", query_spice=answer), expected)

    def serial(self, *chardevs: tuple[str, str]) -> Listening:
        lines = [{"label": label, "filename": name} for label, name in chardevs]
        return console("serial", query_chardev=lines)

    def test_serial(self) -> None:
        """The first line that listens, connected or not; the monitor is none."""
        for label, filename, expected in (
            (
                "serial0",
                "disconnected:tcp:127.0.0.1:45678,server=on",
                Listening("127.0.0.1", 45678),
            ),
            ("charserial0", "tcp:127.0.0.1:7,server=on <-> 127.0.0.1:9", Listening("127.0.0.1", 7)),
            ("serial0", "disconnected:tcp::::36678,server=on", Listening("::", 36678)),
            ("serial0", "tcp:[::1]:7,server=on <-> [::1]:9", Listening("::1", 7)),
            ("serial0", "disconnected:tcp::7,server", Listening("", 7)),
            (
                "console",
                "disconnected:unix:/run/a,b.s,server=on",
                Listening("", 0, socket="/run/a,b.s"),
            ),
        ):
            found = self.serial(
                ("compat_monitor0", "unix:/run/q.sock,server=on"), (label, filename)
            )
            self.assertEqual(found, expected, filename)

    def test_no_serial(self) -> None:
        """What does not listen, or not in plain TCP, is no console."""
        for label, filename, words in (
            ("serial0", "pty:/dev/pts/0", "no console of type serial."),
            ("serial0", "disconnected:tcp:127.0.0.1:7", "no console of type serial."),
            ("serial0", "disconnected:telnet:127.0.0.1:7,server=on", "speaks telnet"),
            ("serial0", "disconnected:tcp:h:http,server=on", "no port number"),
            ("compat_monitor0", "unix:/run/q.sock,server=on", "no console of type serial."),
        ):
            with self.assertRaises(NoSuchConsole) as caught:
                self.serial((label, filename))
            self.assertIn(words, str(caught.exception))

    def test_no_console(self) -> None:
        """A QEMU with -nodefaults, in its own words."""
        answers = {
            "query-uuid": {"UUID": _ID},
            "query-vnc-servers": [],
            "query-vnc": {"enabled": False},
            "query-spice": {"migrated": False, "enabled": False, "mouse-mode": "client"},
            "query-chardev": [],
        }
        self.assertEqual(consoles_of(answers), ())

    @given(
        st.fixed_dictionaries(
            {},
            optional={
                name: st.recursive(
                    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | _WORDS,
                    lambda inner: (
                        st.lists(inner, max_size=3)
                        | st.dictionaries(
                            st.sampled_from(
                                ["server", "service", "host", "family", "port", "label", "filename"]
                            ),
                            inner,
                        )
                    ),
                    max_leaves=8,
                )
                for name in ABOUT_CONSOLES
            },
        )
    )
    def test_anything(self, answers: dict[str, object]) -> None:
        """Whatever JSON a QEMU answers, what is found is where something can be dialled."""
        server_of(answers, "/run/a.qmp")
        for _console_type, found in consoles_of(json.loads(json.dumps(answers))):
            if isinstance(found, Listening):
                self.assertTrue(found.socket or found.port or found.tls_port)
                self.assertLess(found.port, 65536)
