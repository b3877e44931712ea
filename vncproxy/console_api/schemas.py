"""The forms that requests' bodies must have (facts of 3.2 and 3.3), and the check against them."""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from vncproxy.console_api.faults import Fault
from vncproxy.console_api.versions import MKS_CONSOLES, SPICE_DIRECT, Microversion
from vncproxy.reason import reason_of

_LONGEST_MESSAGE = 400
_ACTION_TYPES = {
    "os-getVNCConsole": ["novnc", "xvpvnc"],
    "os-getSPICEConsole": ["spice-html5"],
    "os-getSerialConsole": ["serial"],
    "os-getRDPConsole": ["rdp-html5"],
}
# Ours. No client of nova's sends it; what it may hold is in docs/api.md.
_ADDITIONS = {
    "type": "object",
    "properties": {
        "ttl": {"type": "integer", "minimum": 1},
        "single_use": {"type": "boolean"},
    },
    "additionalProperties": False,
}


def _object(**properties: object) -> dict[str, Any]:
    required = [name for name in properties if name != "vncproxy"]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _remote_console(protocols: list[str], types: list[str]) -> Draft202012Validator:
    console = _object(protocol={"enum": protocols}, type={"enum": types}, vncproxy=_ADDITIONS)
    return Draft202012Validator(_object(remote_console=console))


_PROTOCOLS = ["vnc", "spice", "serial", "rdp"]
_TYPES = ["novnc", "xvpvnc", "spice-html5", "serial", "rdp-html5"]
_BY_VERSION = (
    (SPICE_DIRECT, _remote_console([*_PROTOCOLS, "mks"], [*_TYPES, "webmks", "spice-direct"])),
    (MKS_CONSOLES, _remote_console([*_PROTOCOLS, "mks"], [*_TYPES, "webmks"])),
    (Microversion(2, 6), _remote_console(_PROTOCOLS, _TYPES)),
)
_ACTIONS = {
    name: Draft202012Validator(
        _object(**{name: _object(type={"enum": types}, vncproxy=_ADDITIONS)})
    )
    for name, types in _ACTION_TYPES.items()
}


def parse_json(body: bytes) -> object:
    """Return the value.

    Raises:
        Fault: it is no JSON.
    """
    try:
        return json.loads(body.decode())  # the bytes themselves would let UTF-16 in
    except (ValueError, RecursionError) as error:
        raise Fault(400, f"The body is no JSON: {str(error)[:100]}.") from error


def remote_console_in(body: object, version: Microversion) -> dict[str, Any]:
    """Return the ``remote_console`` that a body asks for.

    Raises:
        Fault: it has another form than this microversion's.
    """
    validator = next(form for since, form in _BY_VERSION if version >= since)
    console: dict[str, Any] = _checked(body, validator)["remote_console"]
    return console


def action_in(body: object) -> tuple[str, dict[str, Any]]:
    """Return a server action's name and arguments.

    Raises:
        Fault: it is none of those that open consoles, or has another form than they have.
    """
    named = [name for name in _ACTIONS if isinstance(body, dict) and name in body]
    if len(named) != 1:
        raise Fault(400, f"The action must be one of {', '.join(_ACTIONS)}.")
    return named[0], _checked(body, _ACTIONS[named[0]])[named[0]]


def _checked(body: object, validator: Draft202012Validator) -> dict[str, Any]:
    try:
        error = best_match(validator.iter_errors(body))
    except Exception as fault:
        said = "The gateway can't check this body."
        raise Fault(500, said, for_operator=f"jsonschema: {reason_of(fault)}") from fault
    if error is None and isinstance(body, dict):
        return body
    where = error.json_path.removeprefix("$").lstrip(".") if error else ""
    what = error.message if error else "no object"
    raise Fault(400, f"Invalid input for {where or 'the body'}: {what}"[:_LONGEST_MESSAGE])
