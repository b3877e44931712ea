"""The command: `python -m bench --help`."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from bench import report
from bench.measures import MEASURES, QUICK, Amounts
from bench.peers import PEERS
from bench.plots import draw
from bench.processes import CannotMeasure
from bench.results import Run, read
from bench.rounds import measure

_ROOT = Path(__file__).parents[1]
_CACHE = _ROOT / ".cache"
_NOT_QUICK = (
    *("echo1000", "curve", "scale"),
    *("haproxy-tls", "ours-2", "ours-2-tls", "portable", "portable-tls", "nova"),
)


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    try:
        run = read(options.raw) if options.raw else _run(options)
    except (CannotMeasure, OSError, ValueError) as error:
        print(f"python -m bench: {error}", file=sys.stderr)
        return 1
    print("\n" + report.tables(run) + report.goals_table(run, all_of_them=False))
    if options.report:
        _write_report(run, options.report)
    return 0


def _run(options: argparse.Namespace) -> Run:
    run = Run(
        started=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        command=f"python -m bench {shlex.join(sys.argv[1:])}".strip(),
    )
    raw = options.results / f"{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}.json"
    peers = [peer for peer in PEERS if peer.name in options.peers]
    amounts = QUICK if options.quick else Amounts()
    try:
        measure(run, peers, options.measures, amounts, options.rounds, _CACHE)
    finally:
        if run.samples:
            run.write(raw)
            print(f"The raw numbers are in {raw}.", file=sys.stderr)
    return run


def _write_report(run: Run, directory: Path) -> None:
    plots = draw(run, directory)
    page = directory / "performance.md"
    page.write_text(report.document(run, [plot.name for plot in plots]))
    print(f"The page is {page}.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure gateways.")
    names = [peer.name for peer in PEERS]
    parser.add_argument("--peers", type=_choice(names), help=_some_of(names))
    parser.add_argument("--measures", type=_choice(list(MEASURES)), help=_some_of(MEASURES))
    parser.add_argument("--rounds", type=_count, default=3, help="3 if not given")
    parser.add_argument("--quick", action="store_true", help="little of everything, roughly")
    parser.add_argument(
        "--results",
        type=Path,
        default=_CACHE / "bench/results",
        help="directory for the raw numbers; .cache/bench/results if not given",
    )
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="write performance.md and its plots there"
    )
    parser.add_argument(
        "--from", dest="raw", type=Path, metavar="FILE", help="measure nothing: show this run"
    )
    options = parser.parse_args()
    left_out = _NOT_QUICK if options.quick else ()
    options.peers = options.peers or [name for name in names if name not in left_out]
    options.measures = options.measures or [name for name in MEASURES if name not in left_out]
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"not a number of rounds: {text}")
    return int(text)


def _some_of(names: Iterable[str]) -> str:
    return f"some of: {','.join(names)}"


def _choice(known: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = [word.strip() for word in text.split(",") if word.strip()]
        unknown = [word for word in chosen if word not in known]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"not known: {', '.join(unknown)}; there are {', '.join(known)}"
            )
        return chosen

    return parse


if __name__ == "__main__":
    os.chdir(_ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped then too
    sys.exit(main())
