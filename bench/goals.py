"""The numbers to reach: ratios of figures inside one run, and a few absolute ones."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

from bench.results import Run

_WORDS: dict[Callable[[float, float], bool], str] = {
    operator.ge: "at least",
    operator.le: "at most",
    operator.lt: "under",
}


@dataclass(frozen=True, slots=True)
class Goal:
    """One number to reach.

    Attributes:
        measure: that gives it.
        figure: of that measure.
        peer: whose figure it is.
        reference: the peer whose figure it is divided by; None for none.
        compare: how it must stand to the limit.
        limit: of the ratio, or of the figure itself.
        unit: of the figure, where it is no ratio.
        needs_cores: that the peers must have, for the goal to mean something.
        beside: a peer whose ratio is told too, to show what can be reached.
    """

    measure: str
    figure: str
    peer: str
    reference: str | None
    compare: Callable[[float, float], bool]
    limit: float
    unit: str = ""
    needs_cores: int = 1
    beside: str = ""

    @property
    def words(self) -> str:
        """The goal, after its measure's name."""
        of = f" of {self.reference}'s" if self.reference else ""
        return f"{_WORDS[self.compare]} {self.limit:g}{self.unit}{of}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run says of a goal.

    Attributes:
        value: the ratio or the figure; None where it was not measured.
        reached: whether the goal is; None where nothing can be said.
        remark: why nothing can be said, or what else is to be known.
    """

    value: float | None
    reached: bool | None
    remark: str = ""

    @property
    def words(self) -> str:
        """``reached``, ``NOT reached``, or why nothing can be said."""
        if self.reached is None:
            return self.remark
        return ("reached" if self.reached else "**not reached**") + self.remark


def judge(goal: Goal, run: Run) -> Verdict:
    """Return what the run's medians say of the goal."""
    for peer in (goal.peer, goal.reference):
        if peer and run.median(peer, goal.measure, goal.figure) is None:
            return Verdict(None, None, f"{peer} was not measured")
    value = _value(goal, run, goal.peer)
    if value is None:
        return Verdict(None, None, f"{goal.reference} measured nothing")
    if run.peer_cores < goal.needs_cores:
        why = f"not judged: needs {goal.needs_cores} cores for the peer, it has {run.peer_cores}"
        return Verdict(value, None, why)
    beside = _value(goal, run, goal.beside)
    remark = "" if beside is None else f" ({goal.beside}: {beside:.3g})"
    return Verdict(value, goal.compare(value, goal.limit), remark)


def _value(goal: Goal, run: Run, peer: str) -> float | None:
    """Return a peer's figure, or its ratio to the reference's."""
    value = run.median(peer, goal.measure, goal.figure)
    if value is None or goal.reference is None:
        return value
    reference = run.median(goal.reference, goal.measure, goal.figure)
    return value / reference if reference else None


_at_least, _at_most, _under = operator.ge, operator.le, operator.lt

# Title of the row, and its goals.
GOALS: tuple[tuple[str, tuple[Goal, ...]], ...] = (
    (
        "Bulk to the client, MB/s",
        (Goal("bulk", "mb_per_s", "ours", "direct", _at_least, 0.9, beside="haproxy"),),
    ),
    (
        "Bulk to the client, CPU",
        (Goal("bulk", "cpu_s_per_gb", "ours", "websockify", _at_most, 0.45),),
    ),
    (
        "Bulk to the client, TLS, CPU",
        (Goal("bulk", "cpu_s_per_gb", "ours-tls", "websockify-tls", _at_most, 0.7),),
    ),
    (
        "64 busy sessions, 8-byte echo, CPU per round trip",
        (
            Goal("echo64", "8b_cpu_us", "ours", "haproxy", _at_most, 1.2),
            Goal("echo64", "8b_cpu_us", "ours", "websockify", _at_most, 0.17),
        ),
    ),
    (
        "The same, TLS",
        (Goal("echo64", "8b_cpu_us", "ours-tls", "websockify-tls", _at_most, 0.5),),
    ),
    (
        "One session, 8-byte echo, p50",
        (
            Goal("echo1", "8b_p50_us", "ours", "websockify", _at_most, 0.7),
            Goal("echo1", "8b_p50_us", "ours", "haproxy", _at_most, 1.4),
        ),
    ),
    (
        "Session set-up, sessions/s",
        (
            Goal("setup", "sessions_per_s", "ours", "websockify", _at_least, 2.5),
            Goal("setup", "sessions_per_s", "ours", "nova", _at_least, 20),
        ),
    ),
    (
        "Session set-up, CPU",
        (Goal("setup", "cpu_ms", "ours", "websockify", _at_most, 0.35),),
    ),
    (
        "Slow reader, 200 MB offered, memory grows",
        (
            Goal("slow", "grown_mb", "ours", None, _under, 1, " MB"),
            Goal("slow", "grown_mb", "ours-tls", None, _under, 1, " MB"),
        ),
    ),
    (
        "p99 of one console's echo while 100 desktops run",
        (Goal("desktop", "p99_ms", "ours", "websockify", _at_most, 0.5),),
    ),
    (
        "Memory per idle session, at the scale below",
        (
            Goal("scale", "kb_per_session", "ours", None, _at_most, 16, " KB"),
            Goal("scale", "kb_per_session", "ours-tls", None, _at_most, 64, " KB"),
        ),
    ),
    (
        "9,500 sessions in one process",
        (
            Goal("scale", "sessions", "ours", None, _at_least, 9500),
            Goal("scale", "p99_ms", "ours", None, _under, 50, " ms"),
            Goal("scale", "descriptors_left", "ours", None, _at_most, 0, " descriptors left"),
            Goal(
                *("scale", "memory_left_part", "ours", None, _at_most, 0.1),
                unit=" of the memory left",
                beside="haproxy",
            ),
            Goal("scale", "second_burst_mb", "ours", None, _under, 5, " MB more by a second burst"),
        ),
    ),
    (
        "Two workers, 64 busy sessions, round trips/s",
        (Goal("echo64", "8b_per_s", "ours-2", "ours", _at_least, 1.8, needs_cores=2),),
    ),
)
