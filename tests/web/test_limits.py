"""The limits as clients meet them: who is refused how, and what is given back."""

from __future__ import annotations

from typing import Any, cast

import txaio
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import grant_for
from tests.web.harness import Connection, WebHarness, json_of
from vncproxy.errors import StoreUnavailable
from vncproxy.limits.seats import MostSessions
from vncproxy.model import Token

_TOKEN = "7f0c0ab0-57a6-4bb0-9c6f-2d6b9a0b8a11"
URL = f"/?token={_TOKEN}"
_JSON = {"Host": "gateway:6080", "Accept": "application/json"}


class LimitsTestCase(SynchronousTestCase):
    def harness(self) -> WebHarness:
        """Return a site with this test's limits."""
        return WebHarness()

    def setUp(self) -> None:
        self.web = self.harness()
        self.patch(cast(Any, txaio).config, "loop", self.web.clock)
        self.token = Token(_TOKEN)
        self.web.store.grants[_TOKEN] = grant_for(self.token, expires=1_700_000_600)

    def lose(self, connection: Connection) -> None:
        connection.protocol.connectionLost(Failure(ConnectionLost()))
        self.web.clock.advance(0.3)  # in which the attempt to reach the server is given up

    def words_of(self, connection: Connection) -> str:
        """Say RFB's version, and return the refusal, whose frame ends with the request id."""
        connection.clear()
        connection.send(b"\x82\x8c" + bytes(4) + b"RFB 003.008\n")
        return str(connection.value(), "latin-1")


class RateTests(LimitsTestCase):
    def harness(self) -> WebHarness:
        return WebHarness(rate=0.5)

    def test_too_fast(self) -> None:
        """The second console within two seconds is refused in HTTP, before the token is asked."""
        self.assertEqual(self.web.upgrade(URL).answer()[0], 101)
        for refused in (self.web.upgrade(URL), self.web.request(URL, _JSON)):
            status, headers, _ = refused.answer()
            self.assertEqual((status, headers["retry-after"]), (429, "2"))
            self.assertEqual(json_of(refused)["code"], "client-too-fast")
        self.assertEqual(len(self.web.store.asked), 1)
        self.assertEqual(self.web.observer.events[-1], "refused client-too-fast")
        self.web.clock.advance(2)
        self.assertEqual(self.web.upgrade(URL).answer()[0], 101)


class FailedTokensTests(LimitsTestCase):
    def harness(self) -> WebHarness:
        return WebHarness(failed_tokens=2)

    def test_back_off(self) -> None:
        """After two bad tokens even a good one has to wait; the database is not asked."""
        for _ in range(2):
            self.assertEqual(self.web.upgrade("/?token=bad").answer()[0], 101)  # told in words
        refused = self.web.upgrade(URL)
        self.assertEqual(refused.answer()[0], 429)
        self.assertEqual(json_of(refused)["code"], "failed-tokens")
        self.assertEqual(len(self.web.store.asked), 2)
        self.web.clock.advance(1)
        self.assertEqual(self.web.upgrade(URL).answer()[0], 101)
        self.web.upgrade("/?token=bad")
        self.assertEqual(self.web.upgrade(URL).answer()[0], 101)

    def test_who_leaves_gives_its_turn_back(self) -> None:
        """A browser that leaves while its token is looked up does not count."""
        self.web.store.pending = []
        for _ in range(5):
            self.lose(self.web.upgrade(URL))
        self.web.store.pending = None
        self.assertEqual(self.web.upgrade(URL).answer()[0], 101)


class SeatTests(LimitsTestCase):
    def harness(self) -> WebHarness:
        return WebHarness(most=MostSessions(token=1))

    def test_one_session_a_token(self) -> None:
        """The second reads why it gets none; when the first has ended there is a place again."""
        first = self.web.upgrade(URL)
        refused = self.web.upgrade(URL)
        self.assertIn("This console link is open too many times.", self.words_of(refused))
        self.lose(first)
        self.lose(refused)
        self.assertIn(b"RFB", self.web.upgrade(URL).answer()[2])
        self.assertEqual(self.web.observer.events.count("refused token-full"), 1)
        self.assertEqual(self.web.observer.events.count("started"), 2)

    def test_the_verdict_takes_no_place(self) -> None:
        """To ask for the verdict is not to open a console."""
        for _ in range(3):
            self.assertEqual(json_of(self.web.request(URL, _JSON))["code"], "ok")
        self.assertIn(b"RFB", self.web.upgrade(URL).answer()[2])


class SingleUseTests(LimitsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.web.uses.single_use.add(self.token.hash)

    def cookie(self, **headers: str) -> tuple[str, str]:
        """Open the console; return the cookie, and its attributes."""
        _, answer, _ = self.web.upgrade(URL, **headers).answer()
        cookie, _, attributes = answer["set-cookie"].partition("; ")
        return cookie, attributes

    def test_uses_that_can_not_be_counted(self) -> None:
        """While the database is away no console is opened, and no place is kept."""
        self.web.uses.error = StoreUnavailable("away")
        words = self.words_of(self.web.upgrade(URL))
        self.assertIn("can't check console links now", words)
        self.assertEqual(self.web.observer.events, ["refused store-unavailable"])
        self.assertEqual(self.web.admission._held, {})

    def test_an_ordinary_token_sets_no_cookie(self) -> None:
        """Whoever does not need a cookie gets none."""
        self.web.uses.single_use.clear()
        self.assertNotIn("set-cookie", self.web.upgrade(URL).answer()[1])

    def test_resume(self) -> None:
        """The browser that was first comes back with its cookie; another one reads why not."""
        cookie, attributes = self.cookie()
        self.assertRegex(cookie, r"^vncproxy-[0-9a-f]{12}=[\w-]{32}$")
        self.assertEqual(attributes, "Path=/; Max-Age=600; HttpOnly; SameSite=Strict")
        other = self.web.upgrade(URL)
        self.assertNotIn("set-cookie", other.answer()[1])
        self.assertIn("This console link was used already.", self.words_of(other))
        again = self.web.upgrade(URL, Cookie=f"a=b; {cookie}")
        self.assertIn(cookie, again.answer()[1]["set-cookie"])
        self.assertEqual(self.web.observer.events.count("started"), 2)

    def test_by_tls(self) -> None:
        """By TLS the cookie is for this host alone."""
        cookie, attributes = self.cookie(X_Forwarded_Proto="https")
        self.assertTrue(cookie.startswith("__Host-vncproxy-"))
        self.assertIn("HttpOnly; Secure; SameSite=Strict", attributes)
        again = self.web.upgrade(URL, Cookie=cookie)
        self.assertIn(b"RFB", again.answer()[2])

    def test_in_a_frame_of_another_site(self) -> None:
        """Where dashboards frame the console its cookie must be sent from there too."""
        self.web.admission._framed = True
        _, attributes = self.cookie(X_Forwarded_Proto="https")
        self.assertIn("Secure; SameSite=None; Partitioned", attributes)

    def test_the_verdict_uses_nothing(self) -> None:
        """The page may ask why it got no console: that is no use, but it tells of one."""
        ask = lambda: json_of(self.web.request(URL, _JSON))["code"]  # noqa: E731
        self.assertEqual([ask(), ask()], ["ok", "ok"])
        cookie, _ = self.cookie()
        self.assertEqual(ask(), "token-used")
        with_cookie = self.web.request(URL, {**_JSON, "Cookie": cookie})
        self.assertEqual(json_of(with_cookie)["code"], "ok")

    def test_the_end_is_noted(self) -> None:
        """With the session's end the time to resume begins."""
        connection = self.web.upgrade(URL)
        self.assertEqual(self.web.uses.ended_with, [])
        self.lose(connection)
        self.assertEqual(self.web.uses.ended_with, [self.web.uses.used[self.token.hash]])


class ToldInWordsTests(LimitsTestCase):
    def harness(self) -> WebHarness:
        return WebHarness(most_pending=3)

    def status(self, connection: Connection) -> int:
        return connection.answer()[0]

    def test_many_that_are_refused_in_words(self) -> None:
        """When three are hearing in words why they get no console, more are told in HTTP."""
        told = [self.web.upgrade("/?token=bad") for _ in range(3)]
        self.assertEqual([self.status(connection) for connection in told], [101] * 3)
        refused = self.web.upgrade("/?token=bad")
        self.assertEqual((self.status(refused), json_of(refused)["code"]), (503, "gateway-crowded"))
        self.lose(told[0])
        self.assertEqual(self.status(self.web.upgrade("/?token=bad")), 101)
