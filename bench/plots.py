"""Cost against the number of sessions, as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.measures import STEPS
from bench.results import Run


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure of the measure ``curve``, drawn over the steps of sessions.

    Attributes:
        file: its name.
        figure: name of the figure, behind the number of sessions.
        title: of the plot.
        axis: title of the y axis.
    """

    file: str
    figure: str
    title: str
    axis: str


PLOTS = (
    Plot(
        "performance-cpu.svg",
        "cpu_us",
        "CPU for one 8-byte round trip, all sessions busy",
        "µs of the process tree",
    ),
    Plot(
        "performance-memory.svg",
        "mb",
        "Memory of all sessions together",
        "MB of the process tree, above that of one session",
    ),
)


def draw(run: Run, directory: Path) -> list[Path]:
    """Write the plots; return their files, of which there are none where nothing was measured."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "vncproxy"  # the same numbers make the same file
    from matplotlib import pyplot

    written = []
    for plot in PLOTS:
        curves = {peer: points for peer in run.labels if (points := _points(run, peer, plot))}
        if not curves:
            continue
        figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
        for peer, points in curves.items():
            axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=run.labels[peer])
        axes.set(xscale="log", yscale="log", title=plot.title, xlabel="sessions", ylabel=plot.axis)
        axes.set_xticks(STEPS, [f"{step:,}" for step in STEPS], minor=False)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        figure.savefig(directory / plot.file, metadata={"Date": None})
        pyplot.close(figure)
        written.append(directory / plot.file)
    return written


def _points(run: Run, peer: str, plot: Plot) -> list[tuple[int, float]]:
    points = []
    for sessions in STEPS:
        value = run.median(peer, "curve", f"{sessions}_{plot.figure}")
        if value is not None and value > 0:  # the axes are logarithmic
            points.append((sessions, value))
    return points
