"""The conversation with QEMU's monitor, in every split, and with what is no monitor."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import every_split
from vncproxy.compute.qmp_talk import QmpFault, QmpTalk

_GREETING = b'{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": ["oob"]}}\r\n'


def line(**message: object) -> bytes:
    return json.dumps(message).encode() + b"\r\n"


class QmpTalkTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """Greeting, questions in one go, answers in whatever pieces, events among them."""
        answers = (
            line(**{"return": {}}, id="qmp_capabilities")
            + line(event="RESUME", timestamp={"seconds": 1})
            + line(**{"return": {"name": "web"}}, id="query-name")
            + line(error={"class": "CommandNotFound"}, id="query-spice")
        )
        for pieces in every_split(_GREETING + answers):
            talk = QmpTalk(["query-name", "query-spice"])
            sent = b""
            for piece in pieces:
                self.assertIsNone(talk.result)
                talk.receive(piece)
                sent += talk.data_to_send()
            self.assertEqual(
                [json.loads(said)["execute"] for said in sent.splitlines()],
                ["qmp_capabilities", "query-name", "query-spice"],
            )
            self.assertEqual(talk.result, {"query-name": {"name": "web"}, "query-spice": None})

    def test_nothing_is_asked_before_the_greeting(self) -> None:
        """QEMU greets first."""
        self.assertEqual(QmpTalk(["query-name"]).data_to_send(), b"")

    def test_no_monitor(self) -> None:
        """Something else on the socket is told as what it is."""
        for data, words in (
            (b"RFB 003.008\n", "no JSON"),
            (b"[1]\n", "no JSON object"),
            (b"{}\n", "does not greet"),
            (b"[" * 100_000 + b"\n", "no JSON"),
            (b"x" * 1_048_577, "a line of over 1048576 bytes"),
            (_GREETING + line(error={"class": "x"}, id="qmp_capabilities"), "refuses"),
        ):
            with self.assertRaises(QmpFault) as caught:
                QmpTalk(["query-name"]).receive(data)
            self.assertIn(words, str(caught.exception))

    @given(st.lists(st.binary() | st.just(_GREETING) | st.just(b'{"id": "query-name"}\n')))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """They are understood or refused."""
        talk = QmpTalk(["query-name"])
        try:
            for piece in pieces:
                talk.receive(piece)
        except QmpFault:
            pass
        else:
            self.assertIn(talk.result, (None, {"query-name": None}))
