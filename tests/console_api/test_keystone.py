"""Keystone's answers, and what becomes of those that are none."""

from __future__ import annotations

from typing import Any, cast

from keystoneauth1.exceptions import ConnectFailure, NotFound
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import ThreadClock
from vncproxy.console_api.callers import Caller, Presented
from vncproxy.console_api.faults import Fault
from vncproxy.console_api.keystone import KeystoneAuthenticator

_USER = {"name": "kim", "id": "1f"}


class _Session:
    """A keystoneauth session that answers with an object, or raises it."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def get(self, *_url: object, headers: dict[str, str], **_options: object) -> _Session:
        """Answer."""
        self.asked.append(headers["X-Subject-Token"])
        if isinstance(self.answer, Exception):
            raise self.answer
        return self

    def json(self) -> object:
        """Return the answer."""
        return self.answer


class KeystoneTests(SynchronousTestCase):
    def ask(self, answer: object, presented: Presented) -> Deferred[Caller | None]:
        self.session = _Session(answer)
        keystone = KeystoneAuthenticator(cast(Any, self.session), cast(Any, ThreadClock()))
        threads: Any = keystone._threads
        self.patch(threads, "call", _now)
        return Deferred.fromCoroutine(keystone.caller_of(presented))

    def found(self, **token: object) -> Caller | None:
        answer = {"token": {"user": _USER, **token}}
        return self.successResultOf(self.ask(answer, Presented("t")))

    def test_whom_it_knows(self) -> None:
        """Members of a project, and admins; others are known, and refused."""
        member, reader = [{"name": "Member"}], [{"name": "reader"}]
        self.assertEqual(
            self.found(roles=member, project={"id": "lab"}),
            Caller("kim (1f)", projects=("lab",)),
        )
        self.assertEqual(self.found(roles=[{"name": "admin"}]), Caller("kim (1f)", admin=True))
        for token in (
            {"roles": reader, "project": {"id": "lab"}},
            {"roles": member},
            {"roles": member, "project": {"id": ""}},
            {"roles": member, "project": {"id": None}},
            {},
        ):
            caller = self.found(**token)
            assert caller is not None
            self.assertEqual((caller.admin, caller.projects), (False, ()), token)
            self.assertIn("members of a project", caller.refusal or "")

    def test_whom_it_does_not(self) -> None:
        """Is nobody; and it is not shown what is no token of its own."""
        self.assertIsNone(self.successResultOf(self.ask(NotFound(), Presented("t"))))
        self.assertEqual(self.session.asked, ["t"])
        for presented in (
            *(Presented(None), Presented("t", "kim"), Presented("x" * 8193)),
            *(Presented("vnc_ours"), Presented("\u00fc"), Presented("a\r\nb")),
        ):
            self.assertIsNone(self.successResultOf(self.ask({}, presented)))
            self.assertEqual(self.session.asked, [])

    def test_what_is_no_answer(self) -> None:
        """503, whatever it raises or says."""
        answers: list[object] = [
            *(ConnectFailure("refused"), RuntimeError("of a library"), ValueError("no JSON")),
            *({}, [], {"token": {}}, {"token": {"user": _USER, "roles": [{}]}}),
            {"token": {"user": _USER, "project": "lab"}},
        ]
        for answer in answers:
            fault = self.failureResultOf(self.ask(answer, Presented("t")), Fault).value
            self.assertEqual((fault.status, fault.headers["Retry-After"]), (503, "60"), answer)
            self.assertNotIn("library", fault.message)


def _now(blocking: Any) -> Deferred[Any]:
    answer: Deferred[Any] = Deferred()
    try:
        answer.callback(blocking())
    except Exception:
        answer.errback()
    return answer
