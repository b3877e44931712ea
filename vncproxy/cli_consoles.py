"""``vncproxy server`` and ``vncproxy console``: straight through the driver, without the API."""

from __future__ import annotations

import argparse
import sys
import time
import webbrowser
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from vncproxy.cli_verbs import add_verb, print_json
from vncproxy.compute.interface import NOVNC, ComputeDriver, ComputeError, Console, Listing, Server
from vncproxy.compute.once import ask_once
from vncproxy.config.read import ConfigError
from vncproxy.config.settings import Settings
from vncproxy.console_api.consoles import PROTOCOLS, Wanted, issue_token
from vncproxy.tokens.access_url import titled
from vncproxy.tokens.engine import open_database
from vncproxy.tokens.issue import Issued, TokenIssuer
from vncproxy.tokens.table import TokenTable

T = TypeVar("T")
Question = Callable[[ComputeDriver], Coroutine[Deferred[Any], Any, T]]


def add_server_and_console_commands(
    nouns: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    """Add the two nouns to the command."""
    server = nouns.add_parser("server", help="list the servers that have consoles")
    verbs = server.add_subparsers(required=True, metavar="COMMAND")
    add_verb(verbs, "list", _list_servers, "list the servers that the compute driver knows")
    console = nouns.add_parser("console", help="open a server's console")
    verbs = console.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("url", _print_url, "print a URL that opens a server's console"),
        ("open", _open_browser, "open a server's console in the browser"),
    ):
        verb = add_verb(verbs, name, run, text)
        verb.add_argument("server", help="its name or its UUID")
        verb.add_argument(
            "--type", default=NOVNC, choices=list(PROTOCOLS.values()), help="kind of console"
        )
        verb.add_argument("--ttl", type=int, metavar="SECONDS", help="how long the URL opens it")


def _list_servers(settings: Settings, options: argparse.Namespace) -> int:
    async def ask(driver: ComputeDriver) -> Listing:
        return await driver.list_servers()

    listing = _asked(settings, ask)
    if options.json:
        print_json([_shown(server) for server in listing.servers])
    else:
        width = max((len(server.name) for server in listing.servers), default=0)
        for server in listing.servers:
            print(f"{server.name:<{width}}  {server.status.value:<9}  {server.id}  {server.host}")
    for fault in listing.faults:
        print(f"vncproxy: {fault.host}: {fault.reason}", file=sys.stderr)
    return 1 if listing.faults else 0


def _print_url(settings: Settings, options: argparse.Namespace) -> int:
    server, issued = _issue(settings, options)
    if options.json:
        shown = {"type": options.type, "expires": issued.grant.expires, "server": _shown(server)}
        print_json({"url": issued.url, **shown})
    else:
        print(issued.url)
    return 0


def _open_browser(settings: Settings, options: argparse.Namespace) -> int:
    server, issued = _issue(settings, options)
    opened = webbrowser.open(titled(issued.url, server.name))
    if options.json:
        print_json({"opened": opened, "server": _shown(server)})
    elif opened:
        print(f"The console of {server.name} opens in the browser.")
    else:
        print("vncproxy: no browser here; `vncproxy console url` prints the URL", file=sys.stderr)
    return 0 if opened else 1


def _issue(settings: Settings, options: argparse.Namespace) -> tuple[Server, Issued]:
    ttl_s = settings.consoleauth.token_ttl if options.ttl is None else options.ttl
    if ttl_s <= 0:
        raise ConfigError("--ttl: give a number of seconds above 0")
    if options.type not in settings.base_urls:
        raise ConfigError(f"--type: {options.type} consoles are not served here")

    async def find(driver: ComputeDriver) -> tuple[Server, Console]:
        server = await driver.find_server(options.server)
        return server, await driver.find_console(server, options.type)

    server, console = _asked(settings, find)
    table = TokenTable(open_database(settings), time.time)
    if settings.keeps_tokens:
        table.create()
    issuer = TokenIssuer(table, time.time, settings.base_urls)
    return server, issue_token(issuer, server, console, Wanted(options.type), ttl_s)


def _shown(server: Server) -> dict[str, object]:
    return {
        "id": server.id,
        "name": server.name,
        "status": server.status.value,
        "host": server.host,
        "project": server.project,
    }


def _asked(settings: Settings, question: Question[T]) -> T:
    """Return the configured driver's answer.

    Raises:
        ConfigError: no driver is configured, or it has no answer; the text says why.
    """
    try:
        answer = ask_once(settings, question)
    except ComputeError as error:
        raise ConfigError(str(error)) from error
    if answer is None:
        raise ConfigError("[vncproxy] compute_driver: set it, so that servers are known")
    return answer
