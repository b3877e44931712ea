"""The running service: how it stops, what its log looks like, and that it purges."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import Gateway


class ServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)

    def test_sigterm(self) -> None:
        """A stop tells every browser 1001 and why, and ends by the signal when all are gone."""
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        with (
            ScriptedBrowser(gateway.console_url(self.target.port)) as opened,
            ScriptedBrowser(gateway.console_url(self.target.port)) as opening,
        ):
            opened.open_console()
            gateway.program.terminate()
            self.assertEqual(opened.read_close(), (1001, "The console gateway is being restarted."))
            self.assertIn("The console gateway is being restarted. (req-", opening.read_refusal())
        self.assertEqual(gateway.program.wait(), -signal.SIGTERM)  # twistd ends as it was told
        self.assertEqual(gateway.log.count(": gateway-stopping; "), 2)
        self.assertNotIn("Traceback", gateway.log)

    def test_json_lines(self) -> None:
        """With use_json every line is an object, with a session's facts as its fields."""
        gateway = Gateway(flags=("--use-json", "--debug"))
        self.addCleanup(gateway.stop)
        url = gateway.console_url(
            self.target.port, "--instance=0a0a0a0a-0000-4000-8000-000000000001"
        )
        with ScriptedBrowser(url) as browser:
            browser.open_console()
        gateway.program.wait_for("client-closed")
        lines = [json.loads(line) for line in gateway.log.splitlines()]
        (end,) = [line for line in lines if line.get("ending") == "client-closed"]
        self.assertEqual(
            {name: end[name] for name in ("level", "client", "instance", "target")},
            {
                "level": "info",
                "client": "127.0.0.1",
                "instance": "0a0a0a0a-0000-4000-8000-000000000001",
                "target": f"127.0.0.1:{self.target.port}",
            },
        )
        self.assertEqual((end["bytes_to_client"], end["bytes_to_server"]), (28, 1))
        self.assertGreater(end["seconds"], 0)
        self.assertNotIn(url[-36:], gateway.log)
        steps = [line["message"] for line in lines if line["level"] == "debug"]
        self.assertTrue(any("agreed on RFB" in step for step in steps), steps)

    def test_a_log_file(self) -> None:
        """With log_file the lines go there."""
        gateway = Gateway(flags=("--log-file=/dev/stderr",))
        self.addCleanup(gateway.stop)
        self.assertIn("listening on", gateway.log)

    def test_files_are_private(self) -> None:
        """Whatever the umask: the database and all beside it, an old one too; and the audit log."""
        self.addCleanup(os.umask, os.umask(0))
        state = Path(self.mktemp()).absolute()
        state.mkdir(mode=0o755)
        with sqlite3.connect(state / "vncproxy.sqlite") as old:
            old.execute("PRAGMA journal_mode=WAL")
            old.execute("CREATE TABLE t (a)")
        self.addCleanup(old.close)
        for directory, warned in ((state, True), (state / "new", False)):
            gateway = Gateway({"state_path": directory})
            self.addCleanup(gateway.stop)
            with ScriptedBrowser(gateway.console_url(self.target.port)) as browser:
                browser.open_console()
                files = {
                    path.name: stat.S_IMODE(path.stat().st_mode)
                    for path in directory.iterdir()
                    if path.is_file()
                }
            names = [f"vncproxy.sqlite{suffix}" for suffix in ("", "-shm", "-wal")]
            self.assertEqual(files, dict.fromkeys(names, 0o600))
            warning = f"{directory} has mode 0755, so others may use it: chmod 0700 {directory}"
            self.assertEqual(warning in gateway.log, warned)
            audit_log = gateway.directory / "audit.log"
            self.assertEqual(stat.S_IMODE(audit_log.stat().st_mode), 0o640)
        self.assertEqual(stat.S_IMODE((state / "new").stat().st_mode), 0o700)

    def test_expired_tokens_are_purged(self) -> None:
        """The embedded database is purged by a timer."""
        gateway = Gateway({"token_purge_interval": 1}, flags=("--debug",))
        self.addCleanup(gateway.stop)
        gateway.console_url(self.target.port)
        database = sqlite3.connect(gateway.directory / "state/vncproxy.sqlite")
        self.addCleanup(database.close)
        with database:
            database.execute("UPDATE console_auth_tokens SET expires = 1")
        gateway.program.wait_for("1 expired tokens purged")
        self.assertEqual(
            database.execute("SELECT count(*) FROM console_auth_tokens").fetchone(), (0,)
        )
