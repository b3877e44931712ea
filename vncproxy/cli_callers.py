"""``vncproxy api-token``: tokens of those who may ask the console API."""

from __future__ import annotations

import argparse

from vncproxy.cli_verbs import add_verb, print_json
from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings
from vncproxy.console_api.callers import Caller
from vncproxy.console_api.callers_file import CallersFault, add_caller, callers_in


def add_api_token_commands(nouns: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the noun to the command."""
    noun = nouns.add_parser("api-token", help="create and list tokens for the console API")
    verbs = noun.add_subparsers(required=True, metavar="COMMAND")
    create = add_verb(verbs, "create", _create, "let somebody ask the API; print their token once")
    create.add_argument("name", help="who it is for, as the log will call them")
    create.add_argument(
        "--servers",
        action="append",
        default=[],
        metavar="NAME",
        help="server that they may open: a name, a pattern with *, or a UUID; repeatable",
    )
    create.add_argument(
        "--project",
        action="append",
        default=[],
        metavar="ID",
        help="project whose servers they may open; repeatable",
    )
    create.add_argument("--admin", action="store_true", help="they may open every server")
    add_verb(verbs, "list", _list, "list those who may ask")


def _create(settings: Settings, options: argparse.Namespace) -> int:
    if not (options.servers or options.project or options.admin):
        raise ConfigError("say what they may open: --servers NAME, --project ID, or --admin")
    caller = Caller(options.name, tuple(options.servers), tuple(options.project), options.admin)
    try:
        token = add_caller(settings.callers_file, caller)
    except CallersFault as fault:
        raise ConfigError(str(fault)) from fault
    if options.json:
        print_json({"name": options.name, "token": token, "file": str(settings.callers_file)})
    else:
        print(token)
    return 0


def _list(settings: Settings, options: argparse.Namespace) -> int:
    try:
        callers = callers_in(settings.callers_file)
    except CallersFault as fault:
        raise ConfigError(str(fault)) from fault
    if options.json:
        print_json(
            [
                {
                    "name": caller.name,
                    "servers": caller.servers,
                    "projects": caller.projects,
                    "admin": caller.admin,
                }
                for caller in callers
            ]
        )
        return 0
    for caller in callers:
        projects = [f"project {project}" for project in caller.projects]
        print(f"{caller.name}: {', '.join([*caller.servers, *projects, *['all'] * caller.admin])}")
    return 0
