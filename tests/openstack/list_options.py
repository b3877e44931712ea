"""A program for nova's own Python: prints every option that a nova.conf may set, as JSON.

PYTHON list_options.py

Ours are described by the same function, so that both can be compared.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

# What nova's own sample configuration is made of, as far as console proxies could read it.
_LISTS = (
    ("nova.conf.opts", "list_opts"),
    ("oslo_db.options", "list_opts"),
    ("oslo_log._options", "list_opts"),
    ("oslo_messaging.opts", "list_opts"),
    ("keystonemiddleware.opts", "list_auth_token_opts"),
)


def described(group: str, option: Any) -> dict[str, Any]:
    """Return what there is to compare of an option of oslo.config's.

    Old names are pairs of group and name; choices of a list are those of its items.
    """
    kind = option.type
    choices = getattr(getattr(kind, "item_type", kind), "choices", None)
    return {
        "group": group,
        "name": option.dest,
        "type": type(option).__name__,
        "choices": sorted(map(str, choices)) if choices else None,
        "min": getattr(kind, "min", None),
        "max": getattr(kind, "max", None),
        "default": option.default,
        "secret": bool(option.secret),
        "old": [
            [old.group or group, (old.name or option.dest).replace("-", "_")]
            for old in option.deprecated_opts
        ],
    }


def main() -> None:
    """Print them."""
    found = []
    for module, function in _LISTS:
        for group, options in getattr(importlib.import_module(module), function)():
            name = getattr(group, "name", group) or "DEFAULT"
            found += [described(name, option) for option in options]
    print(json.dumps(found, default=str))


if __name__ == "__main__":
    main()
