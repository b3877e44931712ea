"""Performs thousands of plays in each of the gateway's ways to move bytes: ``make plays``."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys

from tests.e2e.plays import ENDS, Play, plays
from tests.e2e.stage import STAGES, Stage

_PLAYS_A_GATEWAY = 100  # whose log is read whole behind each


def main() -> int:
    """Perform plays, and print those that failed; return the program's exit status."""
    parser = argparse.ArgumentParser(description="Play with gateways.")
    parser.add_argument("plays", type=int, help="of each end, in each way to move bytes")
    parser.add_argument("--stage", choices=STAGES, action="append")
    parser.add_argument("--end", choices=ENDS, action="append")
    arguments = parser.parse_args()
    failed = 0
    for name in arguments.stage or STAGES:
        for end in arguments.end or ENDS:
            found = _perform(name, end, arguments.plays)
            print(f"{name}, {end}: {arguments.plays} plays, {found} failed", flush=True)  # noqa: T201
            failed += found
    return min(failed, 1)


def _perform(name: str, end: str, count: int) -> int:
    wanted, failed = itertools.islice(plays(end), count), 0
    while batch := list(itertools.islice(wanted, _PLAYS_A_GATEWAY)):
        failed += _perform_at(_stage(name), batch)
    return failed


def _stage(name: str) -> Stage:
    while True:
        try:
            return Stage(*STAGES[name])
        except AssertionError as error:
            if "already in use" not in str(error):  # by one of so many connections
                raise


def _perform_at(stage: Stage, batch: list[Play]) -> int:
    failed = 0
    with contextlib.closing(stage):
        for play in batch:
            try:
                stage.perform(play)
            except AssertionError as error:
                print(f"{play}: {error}", flush=True)  # noqa: T201
                failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
