"""Files: what is served of a directory, with which headers, and what that costs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from zope.interface.verify import verifyObject

from tests.web.harness import Connection, WebHarness
from vncproxy.kinds import NOVNC, SERIAL, SPICE, Kind
from vncproxy.web import directory
from vncproxy.web.assets import Files
from vncproxy.web.site import page_tree, serial_pages, spice_pages

_PAGE = "<!DOCTYPE html><style>p { top: 0 }</style><script>go()</script>"
# What a connection has, and no resource.
_OF_THE_ANSWER = {"date", "content-length", "transfer-encoding"}


def producer_of(connection: Connection) -> IPushProducer:
    """Return what a transport tells whether its client reads."""
    return cast(IPushProducer, connection.producer)


class FilesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.library = Path(self.mktemp()).absolute()
        (self.library / "core").mkdir(parents=True)
        self.script = self.library / "core/rfb.js"
        self.script.write_text("export default class RFB {}")
        (self.library / "vnc.html").write_text(_PAGE)
        self.web = WebHarness(self.library)

    def ask(self, target: str, **headers: str) -> Connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.web.request(target, {"Host": "gateway:6080", **named})

    def get(self, target: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.ask(target, **headers).answer()


class NotModifiedTests(FilesTestCase):
    def assert_same_headers(self, target: str) -> None:
        status, headers, _ = self.get(target)
        self.assertEqual(status, 200, target)
        again, same, body = self.get(target, If_None_Match=headers["etag"])
        self.assertEqual((again, body), (304, b""), target)
        for name in _OF_THE_ANSWER:
            headers.pop(name, None)
            same.pop(name, None)
        self.assertEqual(same, headers, target)

    def test_it_has_the_headers_of_the_200(self) -> None:
        """Browsers put the policy of a 304 into the place of the cached page's."""
        (self.library / "spice_auto.html").write_text(_PAGE)
        trees: list[tuple[Kind, Callable[..., Resource], tuple[str, ...]]] = [
            (NOVNC, page_tree, ("/", "/console", "/vnc.html", "/vnc_auto.html", "/core/rfb.js")),
            (SERIAL, serial_pages, ("/", "/console", "/console-assets/serial.js")),
            (SPICE, spice_pages, ("/", "/spice_auto.html", "/core/rfb.js")),
        ]
        for kind, pages, targets in trees:
            self.web = WebHarness(self.library, kind=kind, pages=pages)
            for target in targets:
                self.assert_same_headers(target)

    def test_which_tags_match(self) -> None:
        """One of a list does, also one that a balancer has made weak by compressing; or any."""
        etag = self.get("/core/rfb.js")[1]["etag"]
        for tags in (f'"a", {etag}', f'"a",{etag},"b"', f"W/{etag}", "*"):
            self.assertEqual(self.get("/core/rfb.js", If_None_Match=tags)[0], 304, tags)
        for tags in ('"a"', etag.strip('"'), f"{etag[:-2]}", ""):
            self.assertEqual(self.get("/core/rfb.js", If_None_Match=tags)[0], 200, tags)


class ChangeTests(FilesTestCase):
    def test_a_file_that_changes(self) -> None:
        """Content, tag and policy are those of the file as it is now, however it was changed."""
        page, date = self.library / "vnc.html", 486_432_000  # npm dates all files 1985
        other = _PAGE.replace("go()", "no()")  # of the same size

        def replaced() -> None:
            new = self.library / "new"
            new.write_text(other)
            os.utime(new, (date, date))
            new.rename(page)

        os.utime(page, (date, date))
        _, before, _ = self.get("/vnc.html")
        replaced()
        _, after, body = self.get("/vnc.html")
        self.assertEqual(body.decode(), other)
        self.assertNotEqual(after["etag"], before["etag"])
        self.assertNotEqual(after["content-security-policy"], before["content-security-policy"])
        page.write_text(_PAGE)
        self.assertEqual(self.get("/vnc.html")[1]["etag"], before["etag"])

    def test_a_directory_that_is_changed_as_a_whole(self) -> None:
        """The directory may be a link, which an upgrade lets point to another."""
        link = self.library.parent / f"{self.library.name}-current"
        newer = self.library.parent / f"{self.library.name}-newer"
        newer.mkdir()
        (newer / "lib.js").write_text("newer")
        (self.library / "lib.js").write_text("older")
        link.symlink_to(self.library)
        self.web = WebHarness(link)
        self.assertEqual(self.get("/lib.js")[2], b"older")
        link.unlink()
        link.symlink_to(newer)
        self.assertEqual(self.get("/lib.js")[2], b"newer")


class CostTests(FilesTestCase):
    def test_nothing_is_computed_for_each_request(self) -> None:
        """A file is hashed, and its page is parsed, when it is new, and never again."""
        self.get("/vnc.html")
        computed: list[object] = []

        def compute(*args: object) -> object:
            computed.append(args)
            return hashlib.new("sha256")

        self.patch(hashlib, "sha256", compute)
        for _ in range(3):
            self.assertEqual(self.get("/vnc.html")[0], 200)
        self.assertEqual(computed, [])

    def test_what_is_known_is_bounded(self) -> None:
        """Of many files those that were not asked for longest are forgotten."""
        self.patch(directory, "_MOST_KNOWN", 2)
        found = directory.Directory(self.library)
        for number in range(5):
            (self.library / f"{number}.js").write_text(str(number))
            found.find([b"%d.js" % number])
            found.find([b"vnc.html"])
        self.assertEqual(
            [Path(os.fsdecode(path)).name for path in found._known], ["4.js", "vnc.html"]
        )

    def test_a_large_file_is_not_hashed(self) -> None:
        """What tells it from another is its date, size and place."""
        self.patch(directory, "_LARGEST_DIGESTED", 20)
        before = self.get("/core/rfb.js")[1]["etag"]
        self.assertEqual(self.get("/core/rfb.js")[1]["etag"], before)
        self.script.write_text("export default class VNC {}")
        os.utime(self.script, ns=(1, 1))
        self.assertNotEqual(self.get("/core/rfb.js")[1]["etag"], before)


class PiecesTests(FilesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.content = os.urandom(10 * directory.PIECE_BYTES + 7)
        self.script.write_bytes(self.content)

    def slow_reader(self) -> Connection:
        """Ask as a client that reads nothing."""
        connection = self.web.connect()
        write = connection.write

        def full(data: bytes) -> None:
            write(data)
            producer = connection.producer
            if producer is not None:
                producer.pauseProducing()

        connection.write = full  # type: ignore[method-assign]
        connection.send(b"GET /core/rfb.js HTTP/1.1\r\nHost: g\r\n\r\n")
        return connection

    def test_a_large_file(self) -> None:
        """It arrives whole, with its length."""
        status, headers, body = self.get("/core/rfb.js")
        self.assertEqual((status, headers["content-length"]), (200, str(len(self.content))))
        self.assertEqual(body, self.content)

    def test_a_client_that_does_not_read(self) -> None:
        """Who takes no piece is sent no further one; and no file is open for them meanwhile."""
        descriptors = len(os.listdir("/proc/self/fd"))
        connection = self.slow_reader()
        self.assertLess(len(connection.value()), 2 * directory.PIECE_BYTES)
        self.assertEqual(len(os.listdir("/proc/self/fd")), descriptors)
        verifyObject(IPushProducer, producer_of(connection))
        turns = 0
        while len(connection.answer()[2]) < len(self.content):
            producer_of(connection).resumeProducing()
            turns += 1
        self.assertEqual((connection.answer()[2], turns), (self.content, 10))

    def test_a_file_that_changes_meanwhile(self) -> None:
        """No mixture of two files is sent: the connection is closed."""
        for change in (
            lambda: self.script.write_bytes(bytes(len(self.content))),
            lambda: os.truncate(self.script, 100),
            self.script.unlink,
        ):
            self.script.write_bytes(self.content)
            os.utime(self.script, ns=(1, 1))
            connection = self.slow_reader()
            change()
            sent = len(connection.value())
            producer_of(connection).resumeProducing()
            self.assertTrue(connection.disconnecting)
            self.assertEqual(len(connection.value()), sent)

    def test_an_empty_file(self) -> None:
        """It has a length too."""
        self.script.write_bytes(b"")
        status, headers, body = self.get("/core/rfb.js")
        self.assertEqual((status, headers["content-length"], body), (200, "0", b""))

    def test_a_client_that_leaves(self) -> None:
        """Nothing is read for it any more."""
        connection = self.slow_reader()
        sent = len(connection.value())
        connection.protocol.connectionLost(Failure(ConnectionLost()))
        self.patch(os, "open", None)  # whoever reads now, fails
        producer_of(connection).stopProducing()
        self.assertEqual(len(connection.value()), sent)


class ClosedDoorTests(FilesTestCase):
    def setUp(self) -> None:
        super().setUp()
        for hidden in (".git", "core/.git", "core/.ssh"):
            (self.library / hidden).mkdir()
            (self.library / hidden / "config").write_text("secret")
        (self.library / "core/.env").write_text("secret")
        outside = self.library.parent / f"{self.library.name}-outside"
        outside.mkdir()
        (outside / "config").write_text("secret")
        self.outside = outside

    def assert_nothing(self, target: str) -> None:
        status, headers, body = self.get(target)
        self.assertEqual(status, 404, target)
        self.assertNotIn("location", headers)
        self.assertNotIn(b"secret", body)

    def test_every_spelling_of_a_dotfile(self) -> None:
        """Segments are judged after they were decoded, and all of them."""
        for path in (
            "/.git/config",
            "/%2egit/config",
            "/x%2f..%2f.git/config",
            "/x%2f%2e%2e%2f%2egit/config",
            "/core/x%2f..%2f.git/config",
            "/core%2f.git%2fconfig",
            "/core/..%2f.git/config",
            "/core/.git/config",
            "/core/%2Egit/config",
            "/core/.git%2fconfig",
            "/core/.env",
            "/core/%2eenv",
            "/core/.%2fx/../.env",
            "/core/./.env",
            "/core/%2e/rfb.js",
            "/core/%2e%2e/core/rfb.js",
            "/core%2frfb.js",
            "/core%5crfb.js",
            "/core\\rfb.js",
            "/core/..\\.git\\config",
            "/core//rfb.js",
            "/core/rfb.js/",
            "/core/rfb.js%00",
            "/core/rfb.js%0a",
            "/core/rfb.js%7f",
            "/core/%ff",
            "/core/%e2%80%aerfb.js",
            "/core/" + "x" * 300,
            "/console-assets/x%2f..%2fconsole.html",
            "/console-assets/%2e%2e/assets.py",
            "/console-assets/..%2fassets.py",
        ):
            self.assert_nothing(path)

    def test_links(self) -> None:
        """A link is followed within the directory; out of it, or to a dotfile, none is."""
        links = {
            "vnc_auto.html": "vnc.html",  # as Debian's
            "alias": "core",
            "out": str(self.outside / "config"),
            "outside": str(self.outside),
            "beside": f"../{self.library.name}-outside/config",
            "env": "core/.env",
            "git": ".git",
            "loop": "loop",
            "nowhere": "nothing",
        }
        for name, target in links.items():
            (self.library / name).symlink_to(target)
        self.web = WebHarness(self.library)
        self.assertEqual(self.get("/vnc_auto.html")[0], 200)
        self.assertEqual(self.get("/alias/rfb.js")[0], 200)
        for path in ("/out", "/outside/config", "/beside", "/env", "/git/config", "/loop"):
            self.assert_nothing(path)
        self.assert_nothing("/nowhere")

    def test_what_is_no_file(self) -> None:
        """Directories, FIFOs and devices are none, and nobody waits for them."""
        os.mkfifo(self.library / "fifo")
        self.assert_nothing("/fifo")
        self.assert_nothing("/core")
        self.assert_nothing("/core/")

    def test_no_descriptors(self) -> None:
        """That a file can't be opened now is not told as that there is none."""

        def fail(*args: object) -> int:
            raise OSError(24, "Too many open files")

        self.patch(os, "open", fail)
        status, headers, _ = self.get("/core/rfb.js")
        self.assertEqual((status, headers["retry-after"]), (503, "1"))


class OneTests(FilesTestCase):
    def test_one_of_the_files(self) -> None:
        """It has a path of its own, and nothing below that."""
        root = Resource()
        root.putChild(b"", Files(self.library).one("vnc.html"))
        root.putChild(b"page", Files(self.library).one("vnc.html"))
        self.web = WebHarness(self.library, pages=lambda *_: root)
        for target, status in (("/", 200), ("/page", 200), ("/page/", 404), ("/page/x", 404)):
            self.assertEqual(self.get(target)[0], status, target)
