"""The embedded database's files and their modes."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.programs import cannot_test
from vncproxy.tokens.private import exposures, make_private

_IS_LOCKED = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
"""


def mode_of(path: Path) -> int:
    """Return a file's rights."""
    return stat.S_IMODE(path.lstat().st_mode)


class PrivateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(mode=0o755)
        self.database = self.directory / "vncproxy.sqlite"

    def connect(self) -> sqlite3.Connection:
        """Open the database as the gateway does."""
        connection = sqlite3.connect(self.database, isolation_level=None)
        self.addCleanup(connection.close)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
        connection.execute("INSERT INTO t VALUES (1)")
        return connection

    def assert_private(self) -> None:
        files = {path.name: mode_of(path) for path in self.directory.iterdir()}
        names = [f"vncproxy.sqlite{suffix}" for suffix in ("", "-shm", "-wal")]
        self.assertEqual(files, dict.fromkeys(names, 0o600))

    def test_a_new_database(self) -> None:
        """It is its owner's, and what SQLite makes beside it."""
        make_private(self.database)
        self.connect()
        self.assert_private()

    def test_an_old_database(self) -> None:
        """It was everybody's to read, and is no more; its log and index neither."""
        connection = self.connect()
        self.assertEqual(mode_of(self.database), 0o644)
        make_private(self.database)
        self.assert_private()
        self.assertEqual(connection.execute("SELECT a FROM t").fetchall(), [(1,)])

    def test_a_rollback_journal(self) -> None:
        """That of a database without a write-ahead log is private, too."""
        journal = self.directory / "vncproxy.sqlite-journal"
        journal.touch(0o644)
        make_private(self.database)
        self.assertEqual(mode_of(journal), 0o600)

    def test_made_by_root(self) -> None:
        """A database that root's command makes is the user's whose directory it is in."""
        if os.geteuid() != 0:
            cannot_test("not root")
        os.chown(self.directory, 12345, 23456)
        make_private(self.database)
        status = self.database.stat()
        self.assertEqual((status.st_uid, status.st_gid), (12345, 23456))
        self.connect()
        self.assert_private()

    def test_links(self) -> None:
        """What stands elsewhere, behind a link of either kind, keeps its mode."""
        for name, link in (("soft", os.symlink), ("hard", os.link)):
            other = self.directory / name
            other.touch(0o644)
            link(other, self.database)
            make_private(self.database)
            self.assertEqual(mode_of(other), 0o644)
            self.database.unlink()

    def test_locks_stay(self) -> None:
        """A transaction that another part of this process is in keeps its locks."""
        connection = self.connect()
        connection.execute("BEGIN IMMEDIATE")
        make_private(self.database)
        command = [sys.executable, "-c", _IS_LOCKED, str(self.database)]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        self.assertEqual(found.stdout, "database is locked\n")

    def test_exposures(self) -> None:
        """Each is a line that says what to do."""
        self.connect()
        lines = list(exposures(self.database))
        self.assertEqual(len(lines), 4)
        self.assertIn(
            f"{self.directory} has mode 0755, so others may use it: chmod 0700 ", lines[0]
        )
        self.assertIn(f"chmod 0600 {self.database}", lines[1])
        make_private(self.database)
        self.directory.chmod(0o700)
        self.assertEqual(list(exposures(self.database)), [])
