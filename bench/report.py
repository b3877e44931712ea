"""The run as Markdown: a table for each measure, what was left out, and the goals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.goals import GOALS, judge
from bench.results import Run

_HEAD = """# Performance

Written by `make bench`; [bench/README.md](../bench/README.md) says what is measured, and how.
One run on one machine; medians of {rounds}. Compare the rows with each other.

{facts}
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a measure.

    Attributes:
        figure: its name in the results.
        title: as in the table.
        digits: behind the point.
    """

    figure: str
    title: str
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """The table of one measure."""

    measure: str
    title: str
    columns: tuple[Column, ...]


_ECHO = tuple(
    Column(f"{word}_{figure}", f"{size}, {title}", digits)
    for word, size in (("8b", "8 B"), ("4k", "4 KB"))
    for figure, title, digits in (
        ("per_s", "round trips/s", 0),
        ("p50_us", "p50 µs", 0),
        ("p99_us", "p99 µs", 0),
        ("cpu_us", "CPU µs each", 1),
    )
)

SECTIONS = (
    Section(
        "bulk",
        "Bulk to the client",
        (Column("mb_per_s", "MB/s"), Column("cpu_s_per_gb", "CPU s/GB", 2)),
    ),
    Section(
        "paste",
        "A paste of 16 MB from the client",
        (Column("mb_per_s", "MB/s"), Column("cpu_s_per_gb", "CPU s/GB", 2)),
    ),
    Section("echo1", "Echo on one session", _ECHO),
    Section("echo64", "Echo on 64 sessions, all busy", _ECHO),
    Section("echo1000", "Echo on 1,000 sessions, all busy", _ECHO),
    Section(
        "steady",
        "8-byte echoes on 64 sessions, 100 a second on each",
        (
            Column("cpu_us", "CPU µs each", 1),
            Column("p50_us", "p50 µs"),
            Column("p99_us", "p99 µs"),
            Column("kept", "part of the rate kept", 3),
        ),
    ),
    Section(
        "setup",
        "Opening sessions, eight at a time, and what each weighs",
        (
            Column("sessions", "sessions"),
            Column("sessions_per_s", "sessions/s", 1),
            Column("cpu_ms", "CPU ms each", 2),
            Column("p50_ms", "p50 ms", 1),
            Column("p99_ms", "p99 ms", 1),
            Column("kb_per_session", "idle KB each", 1),
        ),
    ),
    Section(
        "trap",
        "A key that is not answered, and 5 ms later a request that is",
        (Column("p50_ms", "p50 ms", 2), Column("max_ms", "longest ms", 2)),
    ),
    Section(
        "desktop",
        "One console's 8-byte echo while 100 desktops run (30 updates/s of 20 KB, and input)",
        (
            Column("p50_ms", "p50 ms", 2),
            Column("p99_ms", "p99 ms", 2),
            Column("delivered", "updates delivered, part of 1", 3),
            Column("cores", "cores used", 2),
        ),
    ),
    Section(
        "slow",
        "200 MB offered to a client that does not read",
        (Column("grown_mb", "memory grown by MB", 2),),
    ),
    Section(
        "scale",
        "All sessions that the descriptors allow, each echoing once a second, then closed",
        (
            Column("sessions", "sessions"),
            Column("opened_per_s", "opened/s"),
            Column("kb_per_session", "idle KB each", 1),
            Column("p50_ms", "p50 ms", 2),
            Column("p99_ms", "p99 ms", 2),
            Column("missed", "echoes over 1 s"),
            Column("cpu_us", "CPU µs each", 1),
            Column("descriptors_left", "descriptors left"),
            Column("memory_left_mb", "memory left MB", 1),
            Column("memory_left_part", "part left", 2),
            Column("second_burst_mb", "grown by all once more MB", 1),
        ),
    ),
)


def number(value: float | None, digits: int) -> str:
    """Return a figure as a person reads it; a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: the first column is text, the others are numbers."""
    lines = [titles, ["---", *["--:"] * (len(titles) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def section_table(run: Run, section: Section) -> str:
    """Return the table of a measure: the medians of the peers that it was made of, or nothing."""
    rows = []
    for peer, label in run.labels.items():
        medians = [run.median(peer, section.measure, c.figure) for c in section.columns]
        if any(value is not None for value in medians):
            columns = zip(medians, section.columns, strict=True)
            rows.append([label, *(number(value, column.digits) for value, column in columns)])
    if not rows:
        return ""
    titles = ["", *(column.title for column in section.columns)]
    return f"### {section.title}\n\n{table(titles, rows)}\n"


def tables(run: Run) -> str:
    """Return the tables of all measures."""
    return "".join(section_table(run, section) for section in SECTIONS)


def goals_table(run: Run, all_of_them: bool = True) -> str:
    """Return a table of the numbers to reach: what was measured, and whether that is enough.

    Args:
        run: whose figures are judged.
        all_of_them: also those of which nothing was measured.
    """
    rows = []
    for title, goals in GOALS:
        for goal in goals:
            verdict = judge(goal, run)
            tls = ", TLS" if goal.reference is None and goal.peer.endswith("-tls") else ""
            value = "-" if verdict.value is None else f"{verdict.value:.3g}{goal.unit}"
            if all_of_them or verdict.value is not None:
                rows.append([title + tls, goal.words, value, verdict.words])
    return table(["", "goal", "measured", "verdict"], rows) if rows else ""


def left_out_list(run: Run) -> str:
    """Return what was not measured, and why."""
    lines = [
        f"- {run.labels[entry.peer]}{f', {entry.measure}' if entry.measure else ''}: {entry.why}\n"
        for entry in run.left_out
    ]
    return "".join(lines)


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds (curves and scale: of 1)"


def document(run: Run, plots: Sequence[str]) -> str:
    """Return the whole page.

    Args:
        run: whose figures it shows.
        plots: files of the plots, beside the page.
    """
    facts = {"date": run.started, "command": f"`{run.command}`", **run.machine}
    lines = "".join(f"- {name}: {value}\n" for name, value in facts.items())
    head = _HEAD.format(rounds=_rounds(run.rounds()), facts=lines)
    parts = [head, "## Goals\n\n" + goals_table(run), "## Figures\n\n" + tables(run)]
    if plots:
        images = "".join(f"![{name}]({name})\n" for name in plots)
        parts.append("## Cost against the number of sessions\n\n" + images)
    if run.left_out:
        parts.append("## Not measured\n\n" + left_out_list(run))
    return "\n".join(part.strip("\n") + "\n" for part in parts)
