"""The figures of a run: kept raw, as JSON, and reduced to medians."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one measure of one peer gave in one round."""

    peer: str
    measure: str
    round: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was not measured, and why. An empty measure stands for all of them."""

    peer: str
    measure: str
    why: str


@dataclass(slots=True)
class Run:
    """One run of the benchmark.

    Attributes:
        started: date and time, UTC.
        command: its command line.
        machine: facts of the machine and the versions of what was measured, by name.
        labels: of the peers, in the order of the tables.
        peer_cores: how many cores the peers had.
        samples: raw.
        left_out: and why.
    """

    started: str
    command: str
    machine: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    peer_cores: int = 1
    samples: list[Sample] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def median(self, peer: str, measure: str, figure: str) -> float | None:
        """Return the median over the rounds, or None where nothing was measured."""
        values = self.values(peer, measure, figure)
        return statistics.median(values) if values else None

    def values(self, peer: str, measure: str, figure: str) -> list[float]:
        """Return the figure of each round."""
        return [
            sample.figures[figure]
            for sample in self.samples
            if (sample.peer, sample.measure) == (peer, measure) and figure in sample.figures
        ]

    def rounds(self) -> int:
        """Return how often the most often measured was measured."""
        return max((sample.round for sample in self.samples), default=0)

    def leave_out(self, peer: str, measure: str, why: str) -> None:
        """Keep, once, why something is not measured."""
        entry = LeftOut(peer, measure, why)
        if entry not in self.left_out:
            self.left_out.append(entry)

    def write(self, path: Path) -> None:
        """Write everything as JSON, one sample a line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for name, value in asdict(self).items():
            text = json.dumps(value)
            if isinstance(value, list):
                text = "[" + ",".join(f"\n  {json.dumps(item)}" for item in value) + "\n ]"
            lines.append(f" {json.dumps(name)}: {text}")
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def read(path: Path) -> Run:
    """Return the run that was written to this file."""
    raw: dict[str, Any] = json.loads(path.read_text())
    raw["samples"] = [Sample(**sample) for sample in raw["samples"]]
    raw["left_out"] = [LeftOut(**entry) for entry in raw["left_out"]]
    return Run(**raw)
