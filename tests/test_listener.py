"""Listeners' strings, taken apart."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vncproxy.listener import ListenString

_LOCAL = (
    *("unix:/run/api.sock", "unix:/run/api.sock:mode=660", "tcp:8774:interface=127.0.0.1"),
    *(r"tcp6:8774:interface=\:\:1", "tcp:port=8774:interface=127.1.2.3:backlog=5"),
    *("tcp:8774:interface=localhost", "https:tcp:8774:interface=127.0.0.1"),
    "ssl:8774:interface=127.0.0.1:privateKey=k.pem",
)
_NOT_LOCAL = (
    *("tcp:8774", "tcp6:8774", "tcp:8774:interface=0.0.0.0", "systemd:domain=INET:index=0"),
    *("tcp:8774:interface=10.0.0.1", r"tcp6:8774:interface=\:\:", r"tcp6:8774:interface=\:\:1f"),
    *("tcp:8774:interface=127.evil.example", "tcp:8774:interface=localhost.evil.example"),
    *(
        "tcp:8774:interface=127.0.0.1:interface=0.0.0.0",
        "tcp:8774:interface=",
        "tcp:8774:127.0.0.1",
    ),
    *(
        "haproxy:tcp:8774:interface=127.0.0.1",
        "haproxy:unix:/run/api.sock",
        "unixfoo:/x",
        "",
        "tcp",
    ),
    *("haproxy:https:tcp:8774:interface=127.0.0.1", "tcp:8774:interface=127.0.0.1 "),
)


class ListenStringTests(SynchronousTestCase):
    def test_words(self) -> None:
        """Our two words stand before Twisted's endpoint, in the order of the wire."""
        for text, proxy_header, https in (
            ("tcp:1", False, False),
            ("https:tcp:1", False, True),
            ("haproxy:tcp:1", True, False),
            ("haproxy:https:tcp:1", True, True),
        ):
            parsed = ListenString.parse(text)
            self.assertEqual((parsed.proxy_header, parsed.https), (proxy_header, https))
            self.assertEqual((parsed.endpoint, parsed.whole), ("tcp:1", text))

    def test_who_reaches_it(self) -> None:
        """Only a UNIX socket and exactly one address of loopback are this machine's alone."""
        for text in _LOCAL:
            self.assertTrue(ListenString.parse(text).is_local, text)
        for text in _NOT_LOCAL:
            self.assertFalse(ListenString.parse(text).is_local, text)
