"""The command ``vncproxy``: consoles, their tokens, and a check of the installation."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from vncproxy import __version__
from vncproxy.check import Finding, check, check_options
from vncproxy.cli_callers import add_api_token_commands
from vncproxy.cli_consoles import add_server_and_console_commands
from vncproxy.cli_verbs import add_verb, print_json
from vncproxy.config.read import ConfigError, read_settings
from vncproxy.config.settings import Settings
from vncproxy.errors import GatewayError
from vncproxy.host_port import host_and_port
from vncproxy.kinds import KINDS
from vncproxy.model import NO_INSTANCE, Credentials, Grant
from vncproxy.target_rules import TargetRules
from vncproxy.tokens.engine import open_database
from vncproxy.tokens.issue import TokenIssuer
from vncproxy.tokens.table import TokenTable

_SHORTEST_ID = 6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 for done, 1 for a fault, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    files = [f"--config-file={path}" for path in options.config_file + options.more_files]
    directories = [f"--config-dir={path}" for path in options.config_dir + options.more_dirs]
    sources = [*files, *directories]
    status: int
    try:
        if options.reads_files:
            return _check(sources, options)
        status = options.run(read_settings(sources, "vncproxy"), options)
    except (ConfigError, GatewayError) as error:
        print(f"vncproxy: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vncproxy", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--config-file", action="append", default=[], metavar="FILE")
    parser.add_argument("--config-dir", action="append", default=[], metavar="DIR")
    nouns = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_token_commands(nouns.add_parser("token", help="create, list and revoke console tokens"))
    add_server_and_console_commands(nouns)
    add_api_token_commands(nouns)
    database = nouns.add_parser("database", help="prepare a token database")
    verbs = database.add_subparsers(required=True, metavar="COMMAND")
    add_verb(verbs, "create", _create_tables, "make the token table where it is missing")
    checking = add_verb(
        nouns, "check", _check, "read the configuration, try everything, say what is wrong"
    )
    checking.set_defaults(reads_files=True)  # for it says more of them than their first fault
    return parser


def _add_token_commands(token: argparse.ArgumentParser) -> None:
    verbs = token.add_subparsers(required=True, metavar="COMMAND")
    create = add_verb(verbs, "create", _create_token, "print a URL that opens a console")
    create.add_argument(
        "--host",
        required=True,
        help="host of the console, with or without its port; or a UNIX socket's path",
    )
    create.add_argument("--port", type=int, default=0, help="TCP port of the console")
    create.add_argument("--ttl", type=int, metavar="SECONDS", help="how long the URL opens it")
    create.add_argument("--instance", default=NO_INSTANCE, metavar="UUID", help="the machine")
    create.add_argument(
        "--password-file", metavar="FILE", help="file of the console's password; - reads it"
    )
    create.add_argument("--username", help="for consoles that ask for one")
    create.add_argument(
        "--single-use", action="store_true", help="open the console once; see docs/operations.md"
    )
    create.add_argument("--type", default="novnc", choices=list(KINDS), help="kind of console")
    add_verb(verbs, "list", _list_tokens, "list the tokens that have not expired")
    revoke = add_verb(verbs, "revoke", _revoke_token, "make a token worthless")
    revoke.add_argument("id", help="as `vncproxy token list` shows it")


def _table(settings: Settings) -> TokenTable:
    table = TokenTable(open_database(settings), time.time)
    if settings.keeps_tokens:
        table.create()
    return table


def _create_token(settings: Settings, options: argparse.Namespace) -> int:
    host, port = _where(options)
    if host.startswith("/"):
        rules = TargetRules(settings.limits.target_networks, settings.limits.target_ports)
        rules.check_socket(os.path.realpath(host), ours=settings.keeps_tokens)
    ttl_s = settings.consoleauth.token_ttl if options.ttl is None else options.ttl
    if ttl_s <= 0:
        raise ConfigError("--ttl: give a number of seconds above 0")
    issuer = TokenIssuer(_table(settings), time.time, settings.base_urls)
    credentials = _credentials(options)
    issued = issuer.issue(
        options.type,
        host,
        port,
        options.instance,
        ttl_s,
        credentials,
        options.single_use,
    )
    if options.json:
        print_json({"url": issued.url, **_shown(issued.grant)})
    else:
        print(issued.url)
    return 0


def _where(options: argparse.Namespace) -> tuple[str, int]:
    """Return the console's host and port; or its socket's path, and 0.

    Raises:
        ConfigError: they are none, or contradict each other.
    """
    text: str = options.host.removeprefix("unix:")
    if text.startswith("/"):
        if options.port:
            raise ConfigError("--port: a UNIX socket has none")
        return text, 0
    try:
        host, port = host_and_port(options.host)
    except ValueError as error:
        raise ConfigError(f"--host: {options.host!r} must be {error}") from error
    if port is not None and options.port not in (0, port):
        raise ConfigError(f"--port: --host names the port {port} already")
    port = options.port if port is None else port
    if not 0 < port < 65536:
        raise ConfigError("--port: give the console's TCP port, 1 to 65535")
    return host, port


def _credentials(options: argparse.Namespace) -> Credentials | None:
    if options.password_file is None:
        if options.username is not None:
            raise ConfigError("--username: give --password-file too")
        return None
    try:
        if options.password_file == "-":  # noqa: S105  a file's name
            password = sys.stdin.readline()
        else:
            password = Path(options.password_file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"--password-file: {options.password_file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"--password-file: {options.password_file} is not UTF-8") from None
    return Credentials(password.rstrip("\r\n"), options.username)


def _list_tokens(settings: Settings, options: argparse.Namespace) -> int:
    grants = _table(settings).live()
    if options.json:
        print_json([_shown(grant) for grant in grants])
        return 0
    for grant in grants:
        shown = _shown(grant)
        print(
            f"{shown['id']}  {shown['expires']}  {grant.console_type}  {grant.instance_uuid}  "
            f"{grant.target}"
        )
    return 0


def _revoke_token(settings: Settings, options: argparse.Namespace) -> int:
    if len(options.id) < _SHORTEST_ID:
        raise ConfigError(f"give at least {_SHORTEST_ID} characters of the token's id")
    count = _table(settings).revoke(options.id.lower())
    if options.json:
        print_json({"revoked": count})
    elif not count:
        print(f"vncproxy: no token {options.id}; see `vncproxy token list`", file=sys.stderr)
    return 0 if count else 1


def _create_tables(settings: Settings, options: argparse.Namespace) -> int:
    TokenTable(open_database(settings), time.time).create()
    if options.json:
        print_json({"created": True})
    return 0


def _check(sources: Sequence[str], options: argparse.Namespace) -> int:
    findings = check_options(sources)
    try:
        findings += check(read_settings(sources, "vncproxy"))
    except ConfigError as error:
        findings.append(Finding("configuration", False, str(error)))
    if options.json:
        print_json([asdict(finding) for finding in findings])
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            print(f"{finding.word:<4}  {finding.subject:<{width}}  {finding.text}")
    return 0 if all(finding.ok for finding in findings) else 1


def _shown(grant: Grant) -> dict[str, object]:
    expires = datetime.datetime.fromtimestamp(grant.expires, datetime.UTC)
    return {
        "id": grant.token_id,
        "expires": expires.isoformat(),
        "console_type": grant.console_type,
        "instance": grant.instance_uuid,
        "target": grant.target,
    }


if __name__ == "__main__":
    sys.exit(main())
