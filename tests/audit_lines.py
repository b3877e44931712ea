"""Checking audit logs: every line against the schema in docs, and that it holds no secret."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

_SCHEMA = Path(__file__).parents[1] / "docs/audit-schema.json"


@cache
def _validator() -> Draft202012Validator:
    schema = json.loads(_SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def checked_lines(text: str, secrets: Iterable[str] = ()) -> list[dict[str, object]]:
    """Return an audit log's lines as objects; fail for one that the schema does not allow.

    Args:
        text: of the log.
        secrets: what must be nowhere in it.
    """
    for secret in secrets:
        assert secret not in text, "a secret is in the audit log"
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        faults = [fault.message for fault in _validator().iter_errors(line)]
        assert not faults, (faults, line)
    return lines
