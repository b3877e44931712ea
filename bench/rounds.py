"""The rounds of a run: each peer is started anew, and the measures taken of it."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from bench.client import Client
from bench.machine import machine_facts
from bench.measures import FRESH, MEASURES, Amounts, Bench
from bench.peers import Peer, Place, Relay, start_target
from bench.processes import CannotMeasure, divide_cores, wait_until_idle
from bench.results import Figures, Run, Sample
from tests.e2e.certificates import write_certificate
from tests.e2e.programs import free_port

_SPARE_DESCRIPTORS = 500
_ONCE = ("curve", "scale")  # they take long


def measure(
    run: Run,
    peers: list[Peer],
    measures: list[str],
    amounts: Amounts,
    rounds: int,
    cache: Path,
) -> None:
    """Take the measures of the peers, one after the other, so many times; fill the run with them.

    Args:
        run: gets the samples, what was left out, and the facts of the machine.
        peers: in the order of the tables.
        measures: their names.
        amounts: of work.
        rounds: how often.
        cache: what the Makefile has built and installed.

    Raises:
        CannotMeasure: client or target are missing, or can't be started.
    """
    for program in ("target", "client"):
        if not (cache / "bench" / program).exists():
            raise CannotMeasure(f"the {program} is not built yet; `make bench-quick` does it")
    capacity = (_raise_descriptor_limit() - _SPARE_DESCRIPTORS) // 2
    load_cores, peer_cores = divide_cores()
    os.sched_setaffinity(0, load_cores)  # the target and the clients inherit it
    run.machine = machine_facts(cache, load_cores, peer_cores)
    run.labels = {peer.name: peer.label for peer in peers}
    run.peer_cores = len(peer_cores)
    amounts = replace(amounts, many=min(amounts.many, capacity))
    with tempfile.TemporaryDirectory(prefix="vncproxy-bench-") as directory:
        pem = Path(directory) / "tls.pem"
        write_certificate(pem)
        place = Place(Path(directory), cache, free_port(), pem, amounts.many, frozenset(peer_cores))
        target = start_target(place, place.target_port, load_cores)
        try:
            for turn in range(1, rounds + 1):
                wanted = [name for name in measures if turn == 1 or name not in _ONCE]
                for peer in peers:
                    _Turn(run, peer, place, amounts, capacity, turn).take(wanted)
        finally:
            target.stop()


def _raise_descriptor_limit() -> int:
    """Let the programs open as many descriptors as the system allows; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@dataclass(frozen=True, slots=True)
class _Turn:
    """One peer in one round.

    Attributes:
        run: gets the samples.
        peer: that is measured.
        place: where.
        amounts: of work.
        capacity: sessions that one process' descriptors allow.
        number: of the round.
    """

    run: Run
    peer: Peer
    place: Place
    amounts: Amounts
    capacity: int
    number: int

    def take(self, measures: list[str]) -> None:
        """Take these measures, some of them on a peer that has done nothing yet."""
        missing = self.peer.missing()
        if missing:
            self._leave_out("", missing)
            return
        shared = [name for name in measures if name not in FRESH]
        alone = [[name] for name in measures if name in FRESH]
        for group in [shared, *alone] if shared else alone:
            try:
                with self.peer.start(self.place) as relay:
                    wait_until_idle(relay.tree)
                    for name in group:
                        self._measure(relay, name)
            except CannotMeasure as error:
                self._leave_out("", str(error))
                return

    def _measure(self, relay: Relay, name: str) -> None:
        client = Client(self.place.cache / "bench/client", relay.port, self.peer.wire, relay.paths)
        most_sessions = min(self.peer.most_sessions, self.capacity)
        try:
            figures = MEASURES[name](Bench(client, relay.tree, self.amounts, most_sessions))
            client.ask("close")
        except CannotMeasure as error:
            self._leave_out(name, str(error))
        else:
            sample = Sample(self.peer.name, name, self.number, _rounded(figures))
            self.run.samples.append(sample)
            _say(sample)
        finally:
            client.stop()

    def _leave_out(self, measure: str, why: str) -> None:
        self.run.leave_out(self.peer.name, measure, why)
        print(f"left out: {self.peer.name} {measure}: {why}", file=sys.stderr)


def _rounded(figures: Figures) -> Figures:
    return {name: float(f"{value:.6g}") for name, value in figures.items()}


def _say(sample: Sample) -> None:
    words = "  ".join(f"{name} {value:.4g}" for name, value in sample.figures.items())
    start = f"{sample.round} {sample.peer:15} {sample.measure:9}"
    print(start, words, file=sys.stderr, flush=True)
