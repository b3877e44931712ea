"""What the parts of the command ``vncproxy`` share: how a verb is added, and JSON printed."""

from __future__ import annotations

import argparse
import json


def add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: object,
    text: str,
) -> argparse.ArgumentParser:
    """Add a verb, which ``run`` answers with the command's exit status; return its parser."""
    verb = verbs.add_parser(name, help=text, description=text)
    verb.add_argument("--json", action="store_true", help="machine-readable output")
    verb.add_argument(
        "--config-file", action="append", default=[], metavar="FILE", dest="more_files"
    )
    verb.add_argument("--config-dir", action="append", default=[], metavar="DIR", dest="more_dirs")
    verb.set_defaults(run=run, reads_files=False)
    return verb


def print_json(value: object) -> None:
    """Print the value for a program."""
    print(json.dumps(value, indent=2))
