"""Who may ask: the file of callers, what requests present, and what each caller may open."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis.strategies import text
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from vncproxy.compute.interface import Server, Status
from vncproxy.console_api.callers import Caller, Presented
from vncproxy.console_api.callers_file import (
    CallersFault,
    CallersFile,
    CertificateAuthenticator,
    TokenAuthenticator,
    add_caller,
    callers_in,
)
from vncproxy.console_api.doors import Doors, OpenDoor, UnknownToken, presented_by
from vncproxy.console_api.faults import Fault
from vncproxy.errors import Malformed

_ID = "6f1c2d3e-4b5a-4c6d-8e7f-0123456789ab"


class CallerTests(SynchronousTestCase):
    def may_open(self, caller: Caller, project: str | None = None) -> bool:
        return caller.may_open(Server(_ID, "web-1", Status.ACTIVE, "host", project))

    def test_by_name_and_id(self) -> None:
        """A name, a pattern, a UUID in any case; and nothing without one of these."""
        for pattern in ("web-1", "web-*", "*", _ID, _ID.upper()):
            self.assertTrue(self.may_open(Caller("kim", (pattern,))), pattern)
        for pattern in ("web", "WEB-1", "eb-1", _ID[:8], ""):
            self.assertFalse(self.may_open(Caller("kim", (pattern,))), pattern)
        self.assertFalse(self.may_open(Caller("kim")))
        self.assertTrue(self.may_open(Caller("kim", admin=True)))

    def test_only_the_star_is_special(self) -> None:
        """A name with brackets is that name; ``?`` is a question mark."""
        for pattern, opened, others in (
            ("vm[12]", ["vm[12]"], ["vm1", "vm2"]),
            ("web-?", ["web-?"], ["web-1"]),
        ):
            caller = Caller("kim", (pattern,))
            for name in opened:
                self.assertTrue(caller.may_open(Server(_ID, name, Status.ACTIVE, "host")), name)
            for name in others:
                self.assertFalse(caller.may_open(Server(_ID, name, Status.ACTIVE, "host")), name)

    def test_by_project(self) -> None:
        """Servers whose project is not known are nobody's but an operator's."""
        self.assertTrue(self.may_open(Caller("kim", projects=("lab",)), "lab"))
        self.assertFalse(self.may_open(Caller("kim", projects=("lab",)), "other"))
        self.assertFalse(self.may_open(Caller("kim", projects=("lab",))))


class FileTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "api-callers.conf"


class AddTests(FileTestCase):
    def test_a_token(self) -> None:
        """It is printed once; the file has its hash, and is its owner's."""
        token = add_caller(self.path, Caller("kim", ("web-*", "db"), ("lab",)))
        self.assertRegex(token, r"^vnc_[A-Za-z0-9_-]{43}$")
        self.assertNotIn(token, self.path.read_text())
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(callers_in(self.path), [Caller("kim", ("web-*", "db"), ("lab",))])

    def test_another(self) -> None:
        """What stands in the file, stays: comments, modes and callers."""
        add_caller(self.path, Caller("kim", admin=True))
        self.path.write_text("# our callers\n" + self.path.read_text())
        self.path.chmod(0o640)
        add_caller(self.path, Caller("lee", ("web",)))
        self.assertTrue(self.path.read_text().startswith("# our callers\n[kim]\n"))
        self.assertEqual([caller.name for caller in callers_in(self.path)], ["kim", "lee"])
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o640)
        self.assertEqual(os.listdir(self.path.parent), [self.path.name])

    def test_names(self) -> None:
        """One that is taken, and those that would break the file or the log."""
        add_caller(self.path, Caller("kim", admin=True))
        before = self.path.read_text()
        for name in ("kim", "", "a b", "a]\n[b", "ü", "x" * 65):
            self.assertRaises(CallersFault, add_caller, self.path, Caller(name, admin=True))
        self.assertEqual(self.path.read_text(), before)

    def test_a_directory_that_can_not_be_made(self) -> None:
        """Is named."""
        path = Path("/proc/nowhere/callers.conf")
        with self.assertRaises(CallersFault) as caught:
            add_caller(path, Caller("kim"))
        self.assertIn("/proc/nowhere/callers.conf: ", str(caught.exception))


class ReadTests(FileTestCase):
    def assert_fault(self, content: str, words: str) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(content)
        with self.assertRaises(CallersFault) as caught:
            callers_in(self.path)
        self.assertIn(words, str(caught.exception))
        self.assertNotIn("hunter2", str(caught.exception))

    def test_faults(self) -> None:
        """Each is named, and none repeats what may be a secret."""
        self.assert_fault("hunter2\n", "line 1 is malformed")
        self.assert_fault("[kim]\nhunter2\n", "line 2 is malformed")
        self.assert_fault("[kim]\nadmin = yes\n", "[kim] has neither token nor certificate")
        self.assert_fault("[kim]\ntoken = hunter2\n", "[kim] token is no SHA-256")
        self.assert_fault("[kim]\ncertificate = CN=k\nadmin = hunter2\n", "neither yes nor no")
        self.assert_fault("[kim]\ntokne = x\n", "[kim] has tokne, which is none of admin, cert")
        self.assert_fault("[kim]\ncertificate=CN=k\n[kim]\n", "line 3 is malformed")

    def test_a_byte_order_mark(self) -> None:
        """An editor's mark at the beginning is no text, and is not kept."""
        add_caller(self.path, Caller("kim", admin=True))
        self.path.write_text(self.path.read_text(), encoding="utf-8-sig")
        add_caller(self.path, Caller("lee", admin=True))
        self.assertEqual([caller.name for caller in callers_in(self.path)], ["kim", "lee"])
        self.assertTrue(self.path.read_bytes().startswith(b"[kim]"))

    @given(text())
    def test_any_text(self, content: str) -> None:
        """Whatever the file holds, it is read, or a fault is said."""
        path = Path(self.mktemp())
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        try:
            callers_in(path)
        except CallersFault:
            pass
        finally:
            path.unlink()

    def test_it_is_read_again(self) -> None:
        """A caller who is taken out has lost; one whose file is broken has to wait."""
        token = add_caller(self.path, Caller("kim", admin=True))
        file = CallersFile(self.path)
        found = file.by_token(token, None)
        self.assertEqual(found, Caller("kim", admin=True))
        good = self.path.read_text()
        self.path.write_text(good.replace("[kim]", "[lee"))
        fault = self.assertRaises(Fault, file.by_token, token, None)
        self.assertEqual(fault.status, 503)
        self.path.write_text(good.replace("[kim]", "[lee]"))
        self.assertEqual(file.by_token(token, None), Caller("lee", admin=True))
        self.path.write_text("[other]\ncertificate = CN=other\n")
        self.assertIsNone(file.by_token(token, None))
        self.assertEqual(file.by_certificate("CN=other"), Caller("other"))
        self.assertIsNone(file.by_certificate(""))
        self.assertIsNone(file.by_token("", None))


class DoorTests(FileTestCase):
    def request(self, **headers: str) -> Any:
        request: Any = DummyRequest([b""])
        request.transport = None
        for name, value in headers.items():
            request.requestHeaders.addRawHeader(name.replace("_", "-"), value)
        return request

    def basic(self, text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    def test_what_is_presented(self) -> None:
        """X-Auth-Token before Authorization; Bearer, or Basic with the token as password."""
        for headers, token, user in (
            ({"X_Auth_Token": " a "}, "a", None),
            ({"X_Auth_Token": "a", "Authorization": "Bearer b"}, "a", None),
            ({"Authorization": "bearer  b"}, "b", None),
            ({"Authorization": self.basic("kim:b:c")}, "b:c", "kim"),
            ({"Authorization": self.basic("kim")}, None, None),
            ({"Authorization": "Basic ???"}, None, None),
            ({"Authorization": "Digest x"}, None, None),
            ({"X_Auth_Token": ""}, None, None),
            ({}, None, None),
        ):
            found = presented_by(self.request(**headers))
            self.assertEqual((found.token, found.user), (token, user), headers)
        self.assertNotIn("secret", repr(Presented("secret")))

    def test_a_name_with_the_token(self) -> None:
        """Must be the one that the token is for."""
        token = add_caller(self.path, Caller("kim", admin=True))
        file = CallersFile(self.path)
        self.assertIsNotNone(file.by_token(token, "kim"))
        self.assertIsNone(file.by_token(token, "lee"))

    def test_several_methods(self) -> None:
        """Each is asked, and whoever is known to one of them is let in."""
        token = add_caller(self.path, Caller("kim", admin=True))
        file = CallersFile(self.path)
        doors = Doors([CertificateAuthenticator(file), TokenAuthenticator(file)], "Bearer")

        def ask(**headers: str) -> Caller:
            asking = Deferred.fromCoroutine(doors.caller_of(self.request(**headers)))
            found: Caller = self.successResultOf(asking)
            return found

        self.assertEqual(ask(X_Auth_Token=token).name, "kim")
        for headers, error in (({"X_Auth_Token": "x"}, UnknownToken), ({}, Fault)):
            asking = Deferred.fromCoroutine(doors.caller_of(self.request(**headers)))
            self.assertEqual(self.failureResultOf(asking, error).value.status, 401)

    def test_the_open_door(self) -> None:
        """Is for requests to this machine by its own names; not for a page's that borrowed them."""
        door = OpenDoor()
        for host in ("localhost:8774", "127.0.0.1:8774", "127.1.2.3", "[::1]:8774", "LOCALHOST"):
            presented = presented_by(self.request(Host=host))
            found = self.successResultOf(Deferred.fromCoroutine(door.caller_of(presented)))
            self.assertEqual(found, Caller("everybody", admin=True), host)
        for host in ("evil.example:8774", "192.0.2.1", "localhost.evil.example"):
            presented = presented_by(self.request(Host=host))
            asking = Deferred.fromCoroutine(door.caller_of(presented))
            self.assertEqual(self.failureResultOf(asking, Fault).value.status, 403)
        for host in ("", "localhost@evil", "[::1]evil.example", "localhost:x", "127.0.0.1, evil"):
            self.assertRaises(Malformed, presented_by, self.request(Host=host))
