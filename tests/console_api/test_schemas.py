"""The forms of bodies: what passes, what does not, and what is said of it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis.strategies import (
    binary,
    booleans,
    dictionaries,
    floats,
    integers,
    lists,
    none,
    recursive,
    sampled_from,
    text,
)
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.console_api.faults import Fault
from vncproxy.console_api.schemas import action_in, parse_json, remote_console_in
from vncproxy.console_api.versions import HIGHEST, Microversion

_NAMES = sampled_from(
    ["remote_console", "protocol", "type", "vncproxy", "ttl", "single_use", "os-getVNCConsole"]
)
_VALUES = sampled_from(["vnc", "novnc", "serial", "mks"])
_JSON = recursive(
    none() | booleans() | integers() | floats() | text() | _VALUES,
    lambda inner: lists(inner, max_size=3) | dictionaries(_NAMES | text(), inner, max_size=4),
    max_leaves=8,
)


def console(protocol: object = "vnc", console_type: object = "novnc", **more: object) -> Any:
    return {"remote_console": {"protocol": protocol, "type": console_type, **more}}


class RemoteConsoleTests(SynchronousTestCase):
    def assert_refused(self, words: str, body: object, version: str = "2.6") -> None:
        with self.assertRaises(Fault) as caught:
            remote_console_in(body, Microversion(*map(int, version.split("."))))
        self.assertEqual(caught.exception.status, 400)
        self.assertIn(words, caught.exception.message)

    def test_what_passes(self) -> None:
        """Each microversion's protocols and types, and our additions."""
        for version, protocol, console_type in (
            ("2.6", "vnc", "novnc"),
            ("2.7", "rdp", "rdp-html5"),
            ("2.6", "serial", "serial"),
            ("2.8", "mks", "webmks"),
            ("2.99", "spice", "spice-direct"),
            ("2.104", "spice", "spice-html5"),
        ):
            number = Microversion(*map(int, version.split(".")))
            body = console(protocol, console_type, vncproxy={"ttl": 60, "single_use": True})
            self.assertEqual(remote_console_in(body, number), body["remote_console"])

    def test_later_types(self) -> None:
        """What a newer microversion brings, an older one refuses."""
        self.assert_refused("remote_console.protocol: 'mks'", console("mks"), "2.7")
        self.assert_refused("remote_console.type: 'spice-direct'", console("spice", "spice-direct"))

    def test_what_does_not(self) -> None:
        """The message names the field, the value and the rule."""
        self.assert_refused("remote_console.type: 'x' is not one of", console(console_type="x"))
        self.assert_refused("'type' is a required", {"remote_console": {"protocol": "vnc"}})
        self.assert_refused("'extra' was unexpected", console(extra=1))
        self.assert_refused("'extra' was unexpected", {**console(), "extra": 1})
        self.assert_refused("the body: [] is not of type 'object'", [])
        self.assert_refused("vncproxy.ttl: 0 is less than", console(vncproxy={"ttl": 0}))
        self.assert_refused("vncproxy.ttl: True is not", console(vncproxy={"ttl": True}))
        self.assert_refused("'view_only' was unexpected", console(vncproxy={"view_only": True}))

    def test_a_long_value(self) -> None:
        """Is not said back at length."""
        with self.assertRaises(Fault) as caught:
            remote_console_in(console(console_type="x" * 60000), HIGHEST)
        self.assertLess(len(caught.exception.message), 500)

    def test_actions(self) -> None:
        """One of the four, with its own types."""
        body: Any = {"os-getVNCConsole": {"type": "xvpvnc"}}
        self.assertEqual(action_in(body), ("os-getVNCConsole", {"type": "xvpvnc"}))
        wrongs: tuple[object, ...] = (
            {"os-getVNCConsole": {"type": "serial"}},
            {"os-getVNCConsole": None},
            {"os-getVNCConsole": {"type": "novnc"}, "os-getSPICEConsole": {"type": "spice-html5"}},
            {"reboot": {}},
            {},
            [],
            "os-getVNCConsole",
        )
        for wrong in wrongs:
            self.assertRaises(Fault, action_in, wrong)

    @given(_JSON)
    def test_any_json(self, body: object) -> None:
        """Whatever JSON comes, it passes or is refused with 400."""
        for parse in (lambda body: remote_console_in(body, HIGHEST), action_in):
            try:
                parse(body)
            except Fault as fault:
                self.assertEqual(fault.status, 400)

    @given(binary())
    def test_any_bytes(self, body: bytes) -> None:
        """Whatever bytes come, they are JSON or refused with 400."""
        try:
            parse_json(body)
        except Fault as fault:
            self.assertEqual(fault.status, 400)

    def test_hostile_json(self) -> None:
        """Too deep, a number too long, UTF-16."""
        for body in (b"[" * 60000, b"1" * 60000, json.dumps({}).encode("utf-16"), b""):
            self.assertRaises(Fault, parse_json, body)
