"""The compiled client and target, with nothing between them and with a gateway."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.client import Client
from bench.measures import Amounts, Bench, bulk, echo, paste, setup, trap
from bench.peers import PEERS, Place, start_target
from bench.processes import CannotMeasure
from tests.e2e.certificates import write_certificate
from tests.e2e.programs import free_port, require

_LITTLE = Amounts(bulk=3_000_000, pastes=1, echo_s=0.05, setups=20, traps=1)


class ClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        require("make", "cc", "/usr/include/openssl/ssl.h")
        directory = Path(tempfile.mkdtemp(prefix="vncproxy-test-"))
        self.addCleanup(shutil.rmtree, directory)
        root = Path(__file__).parents[2]
        programs = [".cache/bench/target", ".cache/bench/client"]
        subprocess.run(["make", "-s", *programs], check=True, cwd=root)
        write_certificate(directory / "tls.pem")
        port = free_port()
        cores = frozenset(os.sched_getaffinity(0))
        self.place = Place(directory, root / ".cache", port, directory / "tls.pem", 40, cores)
        self.addCleanup(start_target(self.place, port, None).stop)

    def bench(self, name: str) -> Bench:
        """Return a bench of this peer, which runs until the test's end."""
        peer = next(peer for peer in PEERS if peer.name == name)
        relay = self.enterContext(peer.start(self.place))
        client = Client(self.place.cache / "bench/client", relay.port, peer.wire, relay.paths)
        self.addCleanup(client.stop)
        return Bench(client, relay.tree, _LITTLE, peer.most_sessions)

    def check(self, peer: str, free: bool) -> None:
        """Take measures, which must all give something, and cost nothing only without a peer."""
        bench = self.bench(peer)
        for measure in (bulk, paste, echo(3), setup, trap):
            for name, value in measure(bench).items():
                if "cpu" in name:
                    self.assertEqual(value == 0, free, name)
                elif name != "kb_per_session":  # so few may fit into what was free
                    self.assertGreater(value, 0, name)
            bench.client.ask("close")

    def test_directly(self) -> None:
        """Nothing between them costs nothing."""
        self.check("direct", free=True)

    def test_through_the_gateway(self) -> None:
        """The upgrade, a token, and WebSocket frames around it all."""
        self.check("ours", free=False)

    def test_through_its_tls(self) -> None:
        """The same over TLS."""
        self.check("ours-tls", free=False)

    def test_a_session_that_fails(self) -> None:
        """Is an answer with the reason, and no figure."""
        client = Client(self.place.cache / "bench/client", free_port(), "ws", None)
        self.addCleanup(client.stop)
        error = self.assertRaises(CannotMeasure, client.ask, "open", 2, 2)
        self.assertIn("2 sessions failed: Connection refused", str(error))
