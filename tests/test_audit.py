"""The audit log: what its lines say, and what happens when they can't be written."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.audit_lines import checked_lines
from tests.helpers import grant_for
from vncproxy.audit import Audit, AuditFile
from vncproxy.config.read import ConfigError
from vncproxy.errors import AuditUnavailable
from vncproxy.model import Ending, SessionFacts, Token, new_request_id

_GRANT = grant_for(Token("t"))


def facts(ending: Ending | None = None) -> SessionFacts:
    return SessionFacts(new_request_id(), "2001:db8::7", 0.0, _GRANT, 10, 20, ending, "", 1.23456)


class AuditTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.lost = 0
        self.file = AuditFile(str(self.path))
        self.addCleanup(self.file.close)
        self.audit = Audit(self.file.append, lambda: 1_700_000_000.25, self.lose)

    def lose(self) -> None:
        self.lost += 1

    def lines(self, path: Path | None = None) -> list[dict[str, object]]:
        return checked_lines((path or self.path).read_text())


class LineTests(AuditTestCase):
    def test_a_session(self) -> None:
        """Start and end of a session share its request id; the end says how it was."""
        session = facts()
        self.audit.started(session)
        session.ending, session.detail = Ending.SERVER_LOST, "reset"
        self.audit.ended(session)
        start, end = self.lines()
        both = {
            "time": "2023-11-14T22:13:20.250+00:00",
            "node": os.uname().nodename,
            "request_id": session.request_id,
            "client": "2001:db8::7",
            "instance": _GRANT.instance_uuid,
            "console_type": "novnc",
            "target": "192.0.2.7:5900",
            "token": Token("t").id,
        }
        self.assertEqual(start, {**both, "event": "started"})
        why = {"reason": "server-lost", "detail": "reset"}
        how = {"seconds": 1.235, "bytes_to_client": 10, "bytes_to_server": 20}
        self.assertEqual(end, {**both, **why, **how, "event": "ended"})

    def test_a_client_s_certificate(self) -> None:
        """Whoever showed a certificate is named by it."""
        session = facts()
        session.client_certificate = "CN=operator,O=Example"
        self.audit.started(session)
        (line,) = self.lines()
        self.assertEqual(line["client_certificate"], "CN=operator,O=Example")

    def test_every_ending(self) -> None:
        """Whatever ends or refuses a session has a line that the schema allows."""
        for ending in Ending:
            self.audit.refused(facts(ending))
            self.audit.ended(facts(ending))
        self.assertEqual(len(self.lines()), 2 * len(Ending))

    def test_a_refusal_without_a_token(self) -> None:
        """What is not known is not there."""
        refused = facts(Ending.NO_TOKEN)
        refused.grant = None
        self.audit.refused(refused)
        self.assertNotIn("instance", self.lines()[0])

    def test_a_token_that_a_client_put_elsewhere(self) -> None:
        """Is in no line, though the detail repeats what came."""
        odd = facts(Ending.ORIGIN_REFUSED)
        odd.detail = "the Origin 'http://x/?token=6f1c2d3e' is not valid"
        self.audit.refused(odd)
        detail = "the Origin 'http://x/?token=***' is not valid"
        self.assertEqual(self.lines()[0]["detail"], detail)

    def test_odd_text(self) -> None:
        """A line stays a line, whatever a peer had to say."""
        odd = facts(Ending.TARGET_NOT_RFB)
        odd.detail = 'x"\n{"event": "started"}\u2028\udcff\x00'
        self.audit.ended(odd)
        self.assertEqual(self.lines()[0]["detail"], odd.detail)


class FileTests(AuditTestCase):
    def test_rotation(self) -> None:
        """After the file was moved, lines go into a new one; also after it was removed."""
        self.audit.started(facts())
        old = self.path.rename(self.path.with_suffix(".1"))
        self.audit.started(facts())
        self.path.unlink()
        self.audit.started(facts())
        self.assertEqual((len(self.lines(old)), len(self.lines())), (1, 1))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o640)

    def test_no_such_directory(self) -> None:
        """A file that can't be opened is a mistake of one line."""
        with self.assertRaisesRegex(ConfigError, r"^\[vncproxy\] audit_log: can't write /no/such"):
            AuditFile("/no/such/audit.log")

    def test_a_line_that_was_cut(self) -> None:
        """Behind a line that a full disk has cut the next one is whole again."""
        self.file.append(b"{}")
        self.file._cut = True
        os.write(self.file._descriptor, b'{"time": "20')
        self.file.append(b"{}")
        self.assertEqual(self.path.read_text(), '{}\n{"time": "20\n{}\n')


class FullDiskTests(AuditTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path.unlink()
        self.path.symlink_to("/dev/full")

    def repair(self) -> None:
        self.path.unlink()

    def test_loud_once(self) -> None:
        """The first lost line is critical in the log, the others are counted."""
        for _ in range(3):
            self.audit.started(facts())
        self.assertEqual(self.lost, 3)
        self.repair()
        self.audit.started(facts())
        self.audit.started(facts())
        self.assertEqual((self.lost, len(self.lines())), (3, 2))

    def test_a_check(self) -> None:
        """As a check it lets nobody in until a line could be written."""
        self.successResultOf(self.audit.check(_GRANT))
        self.audit.started(facts())
        refusal = self.failureResultOf(self.audit.check(_GRANT), AuditUnavailable)
        refused = facts(refusal.value.ending)
        self.audit.refused(refused)
        self.failureResultOf(self.audit.check(_GRANT), AuditUnavailable)
        self.repair()
        self.audit.refused(refused)
        self.successResultOf(self.audit.check(_GRANT))

    def test_a_start_that_must_be_written(self) -> None:
        """Where it is required a session whose start is not written is told to end."""
        strict = Audit(self.file.append, lambda: 0.0, required=True)
        self.assertRaises(AuditUnavailable, strict.started, facts())
        strict.ended(facts(Ending.AUDIT_UNAVAILABLE))
        self.repair()
        strict.started(facts())
        self.assertEqual([line["event"] for line in self.lines()], ["started"])

    def test_any_fault(self) -> None:
        """Whatever keeps a line from being written, the line is lost, and that is known."""

        def fail(_line: bytes) -> None:
            raise RuntimeError("the file system is a library")

        strict = Audit(fail, lambda: 0.0, required=True)
        self.assertRaises(AuditUnavailable, strict.started, facts())
        self.failureResultOf(strict.check(_GRANT), AuditUnavailable)
