"""The inventory's text: what it says, and faults that name the line and repeat nothing."""

from __future__ import annotations

import textwrap
import traceback
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.compute import inventory_file
from vncproxy.compute.interface import CONSOLE_TYPES, Console, Server, Status
from vncproxy.compute.inventory_file import InventoryFault, PasswordFile, parse_inventory
from vncproxy.compute.lookup import made_up_id
from vncproxy.model import Credentials

_ID = "8f2c1f0e-5d0b-4c8e-9a57-0c9b3a3f6d11"
_HOST = "servers:\n  - name: a\n    consoles:\n      novnc: "  # and the console from line 4


def example() -> str:
    """Return the inventory that the module's docstring shows."""
    shown = (inventory_file.__doc__ or "").partition("\n\n")[2].partition("\n\nA server")[0]
    return textwrap.dedent(shown)


class InventoryFileTests(SynchronousTestCase):
    def test_the_documented_example(self) -> None:
        """Means what one would expect."""
        web, router = parse_inventory(example())
        self.assertEqual(web.server, Server(made_up_id("web1"), "web1", Status.ACTIVE, "inventory"))
        self.assertEqual(web.consoles, {"novnc": Console("novnc", "10.0.0.5", 5901)})
        self.assertEqual(router.server, Server(_ID, "router", Status.ACTIVE, "rack 4", "network"))
        self.assertEqual(
            router.consoles,
            {
                "novnc": Console("novnc", "10.0.0.6", 5900, path="/consoles/router"),
                "serial": Console("serial", "/run/router.sock", 0),
                "spice-html5": Console("spice-html5", "10.0.0.6", 5910, tls_port=5911),
            },
        )
        self.assertEqual(router.password_files, {"novnc": PasswordFile("router.password", "admin")})

    def test_the_operators_example(self) -> None:
        """The one of docs/compute.md can be used as it stands there."""
        text = (Path(__file__).parents[2] / "docs/compute.md").read_text()
        block = "    servers:" + text.partition("    servers:")[2].partition("\n\n")[0]
        names = [entry.server.name for entry in parse_inventory(textwrap.dedent(block))]
        self.assertEqual(names, ["web1", "router", "old"])

    def test_nothing_in_it(self) -> None:
        """An inventory that is still empty is one."""
        for text in ("", "# soon\n", "servers:\n", "servers: []\n"):
            self.assertEqual(parse_inventory(text), [])

    def test_addresses(self) -> None:
        """On one line, in each form that people write."""
        for text, host, port in (
            ("10.0.0.5:5901", "10.0.0.5", 5901),
            ("kvm1.example.com:5900", "kvm1.example.com", 5900),
            ("'[fd00::7]:5900'", "fd00::7", 5900),
            ("unix:/run/vnc.sock", "/run/vnc.sock", 0),
            ("/run/vnc.sock", "/run/vnc.sock", 0),
            ("{host: 'fd00::7', port: 1}", "fd00::7", 1),
            ("{host: '[fd00::7]', port: 65535}", "fd00::7", 65535),
            ("{unix: /run/vnc.sock}", "/run/vnc.sock", 0),
        ):
            (entry,) = parse_inventory(_HOST + text)
            self.assertEqual(entry.consoles, {"novnc": Console("novnc", host, port)}, text)

    def test_names_that_yaml_takes_for_something_else(self) -> None:
        """A server may be called anything; what is written is its name."""
        for name in ("on", "1e3", "null ", "0x10", "2026-11-25", "'~'", "<script>", "../etc"):
            (entry,) = parse_inventory(f"servers: [{{name: {name}}}]".replace("null ", "'null'"))
            self.assertEqual(entry.server.name, name.strip("'").strip())

    def test_passwords(self) -> None:
        """In the file itself; its digits are no number."""
        (entry,) = parse_inventory(_HOST + "{host: h, port: 1, username: kim, password: 007}")
        self.assertEqual(entry.consoles["novnc"].credentials, Credentials("007", "kim"))
        self.assertNotIn("007", repr(entry))

    def fault(self, text: str) -> str:
        with self.assertRaises(InventoryFault) as caught:
            parse_inventory(text)
        self.assertNotIn("s3cret", "".join(traceback.format_exception(caught.exception)))
        return str(caught.exception)

    def test_faults_of_a_console(self) -> None:
        """Each names the line on which it stands, and says what should be there."""
        for text, words in (
            ("\n        hots: h", "line 5: novnc has no such key; did you mean host?"),
            ("\n        s3cret: h", "line 5: novnc has no such key; known: host, port"),
            ("\n        host: h", "line 5: give host and port, or unix"),
            ("\n        host: h\n        port: 0", "line 6: port must be a TCP port, 1 to 65535"),
            ("\n        host: h\n        port: s3cret", "line 6: port must be a TCP port"),
            ("\n        host: h\n        port: [1]", "line 6: port must be one value"),
            ("\n        host: h\n        port:", "line 6: port must be one value"),
            ("\n        host: a b\n        port: 1", "line 5: host must be a host's name"),
            (
                "\n        host: h:1\n        port: 1",
                "line 5: host must be a host's name or address, ",
            ),
            ("\n        host: '[h]'\n        port: 1", "line 5: host must be a host's name"),
            ("'[fd00::7]'", "line 4: a console must be host:port"),
            ("'fd00::7:5900'", "line 4: a console must be host:port, [IPv6 address]:port"),
            ("\n        unix: run/x", "line 5: unix must be the absolute path"),
            ("{unix: /x, port: 1}", "line 4: give unix, or host and port, not both"),
            ("{unix: /x, unix: /y}", "line 4: unix is given twice"),
            ("{unix: /x, username: s3cret}", "line 4: a username needs a password"),
            ("{unix: /x, password: s3cret, password_file: x}", "line 4: give password or"),
            ("{unix: /x, password: ''}", "line 4: password must be text"),
            ("s3cret", "line 4: a console must be host:port"),
            ("h:70000", "line 4: a console's address has a TCP port, 1 to 65535"),
            ("[s3cret]", "line 4: novnc must be a mapping"),
        ):
            self.assertIn(words, self.fault(_HOST + text), text)

    def test_faults_of_a_server(self) -> None:
        """The same."""
        for text, words in (
            ("- name:", "line 2: name must be one value"),
            ("- id: " + _ID, "line 2: a server needs a name"),
            ("- name: ''", "line 2: name must be text on one line"),
            (f"- name: {'a' * 256}", "line 2: name must be at most 255 characters long"),
            ("- name: a\n  id: 12", "line 3: id must be a UUID, such as"),
            ("- name: a\n  status: s3cret", "line 3: status must be one of active, paused"),
            ("- name: a\n  consoles: {vnc: 'h:1'}", "line 3: consoles has no such key; did you"),
            ("- name: a\n- name: b\n- name: a", "line 4: the server of line 2 has the same id"),
            ("- &a {name: a}\n- *a", "line 2: the server of line 2 has the same id"),
            ("  s3cret", "line 2: servers must be a list"),
            ("- s3cret", "line 2: a server must be a mapping"),
        ):
            self.assertIn(words, self.fault(f"servers:\n{text}"), text)

    def test_faults_of_yaml(self) -> None:
        """Told by their line, without what YAML would quote."""
        for text, words in (
            ("servers:\n\t- name: a", "line 2: this is no YAML"),
            ("servers:\n- name: 'a\n  password: s3cret\n", "this is no YAML"),
            ("servers:\n- name: *s3cret\n", "line 2: this is no YAML: found undefined alias"),
            ("a\x00b", "line 1: a character that YAML does not allow"),
            ("servers:\n- \x07", "line 2: a character that YAML does not allow"),
            ("--- a\n--- b\n", "line 2: this is no YAML"),
            ("s3cret: 1", "line 1: the inventory has no such key; known: servers"),
            ("s3cret", "line 1: the inventory must be a mapping"),
            ("? [s3cret]\n: 1", "line 1: the inventory has no such key"),
        ):
            self.assertIn(words, self.fault(text), text)

    @given(st.text(max_size=80) | st.text("servers:- nam\n\t{}[]&*'\"!%|>?,#0", max_size=80))
    def test_anything(self, text: str) -> None:
        """Whatever the file holds, it is understood or refused with a line."""
        try:
            parse_inventory(text)
        except InventoryFault as fault:
            self.assertRegex(str(fault), r"^line \d+: [^\n]+$")

    @given(
        st.lists(
            st.fixed_dictionaries(
                {"name": st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1)},
                optional={
                    "id": st.uuids().map(str),
                    "project": st.just("p"),
                    "consoles": st.dictionaries(
                        st.sampled_from(CONSOLE_TYPES),
                        st.fixed_dictionaries(
                            {"host": st.sampled_from(["h", "::1"]), "port": st.integers(1, 65535)}
                        ),
                    ),
                },
            ),
            unique_by=lambda server: str(server.get("id", server["name"])),
            max_size=5,
        )
    )
    def test_what_is_written_is_read(self, servers: list[dict[str, object]]) -> None:
        """However YAML quotes it."""
        entries = parse_inventory(yaml.safe_dump({"servers": servers}, allow_unicode=True))
        self.assertEqual([e.server.name for e in entries], [s["name"] for s in servers])
        for entry, said in zip(entries, servers, strict=True):
            self.assertEqual(entry.server.id, said.get("id", made_up_id(entry.server.name)))
            consoles = {
                kind: {"host": console.host, "port": console.port}
                for kind, console in entry.consoles.items()
            }
            self.assertEqual(consoles, said.get("consoles", {}))
