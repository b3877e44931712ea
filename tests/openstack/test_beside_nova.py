"""nova-novncproxy and the gateway side by side: docs/openstack.md explains each difference."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import Program, free_port, require
from tests.e2e.vnc_servers import listens
from tests.openstack.cloud import Cell, oldest
from tests.openstack.conversation import Ended
from tests.openstack.conversations import CONVERSATIONS, Stage

_DOCS = Path(__file__).parents[2] / "docs/openstack.md"
_ORIGINS = "[console]\nallowed_origins = dashboard.example\n"


class NovaNovncproxy:
    """Nova's own proxy, for a cell."""

    def __init__(self, cell: Cell) -> None:
        require("nova-novncproxy", "/usr/share/novnc/vnc_lite.html")
        self.port = free_port()
        extra = cell.directory / "novncproxy.conf"
        extra.write_text(
            "[DEFAULT]\nrpc_response_timeout = 5\n"
            f"[vnc]\nnovncproxy_host = 127.0.0.1\nnovncproxy_port = {self.port}\n{_ORIGINS}"
        )
        self._program = Program(
            ["nova-novncproxy", f"--config-file={cell.config_file}", f"--config-file={extra}"]
        )
        self._program.wait_until(lambda: listens(self.port))

    def stop(self) -> None:
        """Stop it and its children."""
        self._program.stop()


def explained() -> dict[str, tuple[str, str, str]]:
    """Return the table of the manual: nova's outcome, ours, and why they differ."""
    rows = {}
    for line in _DOCS.read_text().splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and len(cells) == 4 and cells[0] in CONVERSATIONS:
            rows[cells[0]] = (cells[1], cells[2], cells[3])
    return rows


class SideBySideTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cell = oldest()
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)
        self.cell.nova.do("compute", host="beside", topics=["compute"])
        self.addCleanup(self.cell.nova.do, "stop_compute", host="beside")

    def outcomes(self, port: int) -> dict[str, str]:
        """Return what comes of each conversation with the proxy at this port."""

        def hold(talk: Callable[[Stage], str]) -> str:
            stage = Stage(port, self.cell, "beside", self.target)
            try:
                return talk(stage)
            except Ended as end:
                return str(end)
            finally:
                for close in stage.opened:
                    close()

        with ThreadPoolExecutor(4) as several:  # in some of them nova waits
            return dict(zip(CONVERSATIONS, several.map(hold, CONVERSATIONS.values()), strict=True))

    def test_side_by_side(self) -> None:
        """Nova does what the manual says, we do what it says, and what differs has a reason."""
        nova = NovaNovncproxy(self.cell)
        self.addCleanup(nova.stop)
        gateway = self.cell.gateway(more=f"[DEFAULT]\nweb = /usr/share/novnc\n{_ORIGINS}")
        self.addCleanup(gateway.stop)
        theirs, ours = self.outcomes(nova.port), self.outcomes(gateway.port)
        table = explained()
        for name in CONVERSATIONS:
            their_words, our_words, why = table.get(name, ("", "", ""))
            row = f"| {name} | {theirs[name]} | {ours[name]} | {why} |"
            with self.subTest(name):
                self.assertEqual((theirs[name], ours[name]), (their_words, our_words), row)
                self.assertTrue(theirs[name] == ours[name] or why, row)
        self.assertNotIn("Traceback", gateway.log)
