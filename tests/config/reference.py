"""Writes docs/configuration.md from the definitions of the options: ``make conf`` runs it."""

from __future__ import annotations

from oslo_config import cfg

from vncproxy.config.options import FLAGS, OPTIONS

_HEAD = """# Configuration

Written by `make conf` from `vncproxy/config/topics/`; `conf/vncproxy.conf` is the same in
the form of a file.

Options are read by [oslo.config](https://docs.openstack.org/oslo.config/), as nova reads its own:
`--config-file` (repeatable, the later file wins), `--config-dir`, environment variables
`OS_<GROUP>__<OPTION>`, and the flags below. Without `--config-file`, `/etc/vncproxy/vncproxy.conf`
is read where it exists. Groups and names are nova's where nova has the option; our own stand in
`[vncproxy]`, where an option that does not exist is an error. Other groups and options of a
`nova.conf` are passed over.
"""

_TYPES = {
    cfg.BoolOpt: "boolean",
    cfg.DictOpt: "pairs",
    cfg.FloatOpt: "number",
    cfg.IntOpt: "integer",
    cfg.ListOpt: "list",
    cfg.MultiStrOpt: "string, repeatable",
    cfg.Opt: "integer, or auto",
    cfg.PortOpt: "port",
    cfg.StrOpt: "string",
}


def reference() -> str:
    """Return the document."""
    sections = [_HEAD]
    for group, options in OPTIONS.items():
        rows = ["| option | type | default | flag | meaning |", "|---|---|---|---|---|"]
        rows += [_row(group, option) for option in options]
        sections.append(f"## [{group}]\n\n" + "\n".join(rows) + "\n")
    return "\n".join(sections)


def _row(group: str, option: cfg.Opt) -> str:
    prefix = "" if group == "DEFAULT" else f"{group}-"
    flag = f"`--{prefix}{option.name}`" if option.dest in FLAGS.get(group, ()) else ""
    default = "" if option.default in (None, [], {}) else f"`{_plain(option.default)}`"
    return f"| `{option.dest}` | {_TYPES[type(option)]} | {default} | {flag} | {option.help} |"


def _plain(default: object) -> str:
    return ", ".join(default) if isinstance(default, list) else str(default)


if __name__ == "__main__":
    print(reference(), end="")
