"""Whose threads blocking calls are made in."""

from __future__ import annotations

import ast
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vncproxy.threads import FreeThreads

_PACKAGE = Path(__file__).parents[1] / "vncproxy"
_REACTORS_POOL = {
    *("callInThread", "callMultipleInThread", "deferToThread", "getThreadPool"),
    *("blockingCallFromThread", "suggestThreadPoolSize", "ThreadedResolver", "nameResolver"),
}
# They look names up in the reactor's pool, or may do so.
_LOOKS_UP = {"gethostbyname", "getfqdn", "create_connection", "clientFromString"}


class ReactorsPoolTests(SynchronousTestCase):
    def test_nobody_uses_it(self) -> None:
        """It is everybody's: one call in it that hangs would be everybody's fault."""
        allowed = {"target_address.py": {"nameResolver"}}  # one that knows its answer
        for path in _PACKAGE.rglob("*.py"):
            names = {
                name
                for node in ast.walk(ast.parse(path.read_text()))
                for name in (
                    getattr(node, "attr", None),
                    getattr(node, "id", None),
                    *(alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name")),
                )
            }
            found = names & (_REACTORS_POOL | _LOOKS_UP) - allowed.get(path.name, set())
            self.assertEqual(found, set(), path)

    def test_names_of_consoles_hosts_are_looked_up_in_one_place(self) -> None:
        """Whoever dials by name goes through it."""
        using = {
            path.relative_to(_PACKAGE).as_posix()
            for path in _PACKAGE.rglob("*.py")
            for word in ("getaddrinfo", "HostnameEndpoint")
            if word in path.read_text()
        }
        self.assertEqual(using, {"resolver.py", "target_address.py"})


class FreeThreadsTests(SynchronousTestCase):
    def test_the_process_does_not_wait(self) -> None:
        """They are daemons, so that a call that hangs does not keep the gateway from ending."""
        threads = FreeThreads(0, 1)
        threads.start()
        daemon: list[bool] = []
        threads.callInThread(lambda: daemon.append(threading.current_thread().daemon))
        threads.stop()
        self.assertEqual(daemon, [True])
