"""Who may ask: the file of callers, what requests present, and what each caller may open."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis.strategies import lists, none, sampled_from, text, tuples
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from tests.console_api.harness import FakeKeystone
from vncproxy.compute.interface import Server, Status
from vncproxy.console_api.callers import Authenticator, Caller, Presented
from vncproxy.console_api.callers_file import (
    CallersFault,
    CallersFile,
    CertificateAuthenticator,
    TokenAuthenticator,
    add_caller,
    callers_in,
    digest_of,
)
from vncproxy.console_api.doors import Doors, OpenDoor, presented_by
from vncproxy.console_api.faults import Fault
from vncproxy.console_api.look_ups import TokenLookUps
from vncproxy.errors import Malformed
from vncproxy.limits.failures import FailedTokens

_WRITTEN = sampled_from(["CN=kim", "CN=lee,O=x", "URI:spiffe://x/kim", "email:k@x", "DNS:k.x"])
_SHOWN = _WRITTEN | sampled_from(["", " ", "CN=", "None", "URI:"]) | text(max_size=12)
_SECRETS = sampled_from(["", "a", "b", "c", "None", "CN=kim"])
_ENTRIES = lists(
    tuples(none() | _SECRETS, none() | _WRITTEN).filter(any),
    max_size=3,
)
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

    def test_items_that_would_be_more(self) -> None:
        """What is given as one server or project gives no other right by its line or its commas."""
        add_caller(self.path, Caller("kim", ("web",)))
        for item in ("web\nadmin = yes", "web\r\n[root]", "web, *", "", " ", " web", "web\0"):
            for caller in (Caller("lee", (item,)), Caller("lee", (), (item,))):
                self.assertRaises(CallersFault, add_caller, self.path, caller)
        self.assertEqual(callers_in(self.path), [Caller("kim", ("web",))])

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
        self.assert_fault("[kim]\nhunter2: x\n", "[kim] has an option, which is none of")
        self.assert_fault("[kim]\ncertificate=CN=k\n[kim]\n", "line 3 is malformed")

    def test_a_byte_order_mark(self) -> None:
        """An editor's mark at the beginning is no text, and is not kept."""
        add_caller(self.path, Caller("kim", admin=True))
        self.path.write_text(self.path.read_text(), encoding="utf-8-sig")
        add_caller(self.path, Caller("lee", admin=True))
        self.assertEqual([caller.name for caller in callers_in(self.path)], ["kim", "lee"])
        self.assertTrue(self.path.read_bytes().startswith(b"[kim]"))

    def test_what_is_there_and_empty(self) -> None:
        """Is a fault, and not the same as what is not there."""
        digest = digest_of("secret")
        self.assert_fault("[kim]\ntoken =\ncertificate = CN=k\n", "[kim] token is empty")
        self.assert_fault(f"[kim]\ntoken = {digest_of('')}\n", "[kim] token is empty")
        both = f"[kim]\ntoken = {digest}\ncertificate =\n"
        self.assert_fault(both, "[kim] certificate is empty; name a subject such as CN=backup")

    def test_what_no_certificate_has(self) -> None:
        """Is a fault: a section that nobody fits would look like one that somebody does."""
        for identity, words in (
            ("kim", "is none of a subject"),
            ("CN=kim, O=Example", "no space behind the comma"),
            ("emailAddress=kim@example.com", "1.2.840.113549.1.9.1"),
            ("CN=", "is none of"),
            ("URI:", "has no name behind URI:"),
            ("uri:spiffe://x", "is none of"),
            ("IP:127.0.0.1", "is none of"),
            ("DNS:*.example.com", "is a pattern"),
            ("CN=kim\n URI:x", "on one line"),
        ):
            self.assert_fault(f"[kim]\ncertificate = {identity}\n", words)

    def test_one_of_two(self) -> None:
        """A token or a certificate that two sections name could be either's."""
        digest = digest_of("secret")
        for option in (f"token = {digest}", "certificate = CN=k", "certificate = URI:spiffe://x"):
            content = f"[kim]\n{option}\nadmin = yes\n[lee]\n{option}\n"
            self.assert_fault(content, f"[lee] {option.split()[0]} is that of [kim] too")
        self.assert_fault(
            "[kim]\ncertificate = DNS:A.example\n[lee]\ncertificate = DNS:a.EXAMPLE\n", "[kim] too"
        )

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
        self.assertEqual(file.by_certificate(["CN=other"]), Caller("other"))
        self.assertIsNone(file.by_token("", None))

    def test_what_is_not_configured_is_nobody(self) -> None:
        """A certificate without a name is not whoever has none in the file; nor is a token."""
        token = add_caller(self.path, Caller("root", admin=True))
        with self.path.open("a") as file:
            file.write("[kim]\ncertificate = CN=kim\n")
        callers = CallersFile(self.path)
        for identities in ((), ("",), ("CN=",), ("None",)):
            self.assertIsNone(callers.by_certificate(identities), identities)
        for nothing in ("", "None", "CN=kim", callers_in(self.path)[0].name):
            self.assertIsNone(callers.by_token(nothing, None))
        self.assertEqual(callers.by_token(token, None), Caller("root", admin=True))

    @given(_ENTRIES, lists(_SHOWN), _SECRETS | text())
    def test_whoever_is_let_in_stands_in_the_file(
        self, entries: list[tuple[str | None, str | None]], shown: list[str], token: str
    ) -> None:
        """A match, in any file with anything presented, is one that the file spells out."""
        sections = [
            f"[c{number}]\n"
            + (f"token = {digest_of(secret)}\n" if secret is not None else "")
            + (f"certificate = {identity}\n" if identity is not None else "")
            for number, (secret, identity) in enumerate(entries)
        ]
        path = Path(self.mktemp())
        path.write_text("\n".join(sections))
        callers = CallersFile(path)
        try:
            by_certificate = callers.by_certificate(shown)
            by_token = callers.by_token(token, None)
        except Fault:
            return
        finally:
            path.unlink()
        secrets, identities = zip(*entries, strict=True) if entries else ((), ())
        if by_certificate is not None:
            self.assertIn(identities[int(by_certificate.name[1:])], shown)
        self.assertEqual(by_token is not None, token in secrets)


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
        methods: list[Authenticator] = [CertificateAuthenticator(file), TokenAuthenticator(file)]
        doors = self.doors(methods)
        self.assertEqual(self.successResultOf(self.ask(doors, X_Auth_Token=token)).name, "kim")
        for headers in ({"X_Auth_Token": "x"}, {}):
            self.assertEqual(self.failureResultOf(self.ask(doors, **headers)).value.status, 401)

    def test_a_file_that_is_broken(self) -> None:
        """Keeps out those whom it would name: not those whom Keystone knows."""
        token = add_caller(self.path, Caller("kim", admin=True))
        file = CallersFile(self.path)
        self.path.write_text("hunter2")
        keystone = FakeKeystone()
        keystone.known = {"lee's": Caller("lee")}
        for doors in (
            self.doors([TokenAuthenticator(file)]),
            self.doors([TokenAuthenticator(file)], keystone),
        ):
            asking = self.ask(doors, X_Auth_Token=token)
            self.assertEqual(self.failureResultOf(asking, Fault).value.status, 503)
        self.assertEqual(self.successResultOf(self.ask(doors, X_Auth_Token="lee's")).name, "lee")

    def doors(self, here: Sequence[Authenticator], *elsewhere: Authenticator) -> Doors:
        clock = Clock()
        failed = FailedTokens(10, clock.seconds)
        return Doors(here, TokenLookUps(elsewhere, failed, clock, 10), "Bearer")

    def ask(self, doors: Doors, **headers: str) -> Deferred[Caller]:
        return Deferred.fromCoroutine(doors.caller_of(self.request(**headers), "192.0.2.1"))

    def test_the_open_door(self) -> None:
        """Is for requests to this machine by its own names; not for a page's that borrowed them."""
        door = OpenDoor()
        for host in ("localhost:8774", "127.0.0.1:8774", "127.1.2.3", "[::1]:8774", "LOCALHOST"):
            presented = presented_by(self.request(Host=host))
            found = self.successResultOf(Deferred.fromCoroutine(door.caller_of(presented)))
            self.assertEqual(found, Caller("everybody", admin=True), host)
        nameless = presented_by(self.request())
        found = self.successResultOf(Deferred.fromCoroutine(door.caller_of(nameless)))
        self.assertEqual(found, Caller("everybody", admin=True))
        for host in ("evil.example:8774", "192.0.2.1", "localhost.evil.example"):
            presented = presented_by(self.request(Host=host))
            asking = Deferred.fromCoroutine(door.caller_of(presented))
            self.assertEqual(self.failureResultOf(asking, Fault).value.status, 403, host)
        for host in (
            *("", " ", ":8774", "[::1].evil.example", "localhost:8774@evil.example", "[::1"),
            *("localhost, evil.example", "127.0.0.1:x", "127.0.0.1\\@evil.example", "localhost:x:"),
        ):
            self.assertRaises(Malformed, presented_by, self.request(Host=host))
        twice = self.request(Host="localhost")
        twice.requestHeaders.addRawHeader("Host", "evil.example")
        self.assertRaises(Malformed, presented_by, twice)
