"""The API's one resource: who asks, in which microversion, for what; and one answer to each."""

from __future__ import annotations

import math
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from typing_extensions import override

from vncproxy.compute.interface import ComputeError, Server
from vncproxy.console_api.call import TOKENS, Call, call_of
from vncproxy.console_api.callers import Caller
from vncproxy.console_api.consoles import Consoles, Wanted, console_type_of
from vncproxy.console_api.doors import Doors
from vncproxy.console_api.faults import Fault, fault_of
from vncproxy.console_api.lookup import Lookup
from vncproxy.console_api.pace import Pace
from vncproxy.console_api.queries import check_list_query, check_no_query
from vncproxy.console_api.schemas import action_in, parse_json, remote_console_in
from vncproxy.console_api.servers import Shown, chosen
from vncproxy.console_api.versions import (
    HEADER,
    OLDER_HEADER,
    REMOTE_CONSOLES,
    SHOWS_TOKENS,
    SPICE_DIRECT,
    headers_of,
    version_document,
    version_of,
)
from vncproxy.errors import Malformed, StoreUnavailable, TokenExpired, TokenInvalid
from vncproxy.limits.address import client_of
from vncproxy.limits.rate import TokenBuckets
from vncproxy.model import Token
from vncproxy.redaction import without_tokens
from vncproxy.tokens.issue import Issued
from vncproxy.tokens.sql import SqlTokenStore
from vncproxy.web.headers import text_of
from vncproxy.web.server import close_after

_ACTION_PROTOCOLS = {
    "os-getVNCConsole": "vnc",
    "os-getSPICEConsole": "spice",
    "os-getSerialConsole": "serial",
    "os-getRDPConsole": "rdp",
}
Body = dict[str, Any]


class ConsoleApi(Resource):
    """Answers every request to the API, and writes one line of each.

    Args:
        doors: say who asks.
        requests: how often each caller may ask.
        lookup: finds servers.
        consoles: opens consoles.
        store: finds tokens.
        clock: tells the reactor's turns, and how long an answer took.
    """

    isLeaf = True
    _log = Logger(namespace="vncproxy.api")

    def __init__(
        self,
        doors: Doors,
        requests: TokenBuckets,
        lookup: Lookup,
        consoles: Consoles,
        store: SqlTokenStore,
        clock: IReactorTime,
    ) -> None:
        super().__init__()
        self._doors = doors
        self._requests = requests
        self._lookup = lookup
        self._consoles = consoles
        self._store = store
        self._clock = clock
        self._pace = Pace(clock)

    @override
    def render(self, request: Request) -> int:
        try:
            call = call_of(request, self._clock.seconds())
        except UnicodeDecodeError:
            call = Call(request, self._clock.seconds(), ["not-utf-8"], "")
        answering = Deferred.fromCoroutine(self._answer(call))
        request.notifyFinish().addErrback(lambda _gone: answering.cancel())
        answering.addErrback(self._broke, call)
        return NOT_DONE_YET

    async def _answer(self, call: Call) -> None:
        versions: dict[str, str] = {}
        try:
            await self._pace.turn()
            if call.path == [""]:
                self._finish(call, 200, _discovery(call), {})
                return
            call.caller = await self._known_caller(call)
            if call.prefix != "v2":  # which behaves as 2.1, whatever the headers say
                request = call.request
                call.version = version_of(
                    text_of(request, HEADER.lower()), text_of(request, OLDER_HEADER.lower())
                )
            versions = headers_of(call.version)
            body = await self._dispatch(call, call.caller)
        except Fault as fault:
            fault.for_operator = without_tokens(fault.for_operator or fault.message)
            self._refuse(call, fault, versions)
        except Malformed as error:
            for_operator = without_tokens(str(error))
            self._refuse(call, Fault(400, f"{error}.", for_operator=for_operator), versions)
        except ComputeError as error:
            self._refuse(call, fault_of(error), versions)
        except StoreUnavailable as error:
            self._refuse(call, Fault(503, error.words, for_operator=str(error)), versions)
        else:
            self._finish(call, 200, body, versions)

    async def _known_caller(self, call: Call) -> Caller:
        """Return whose the call is, unless they ask too often, or may ask for nothing."""
        caller = await self._doors.caller_of(call.request, client_of(call.client))
        wait_s = math.ceil(self._requests.take(caller.name))
        if wait_s:
            words = f"Too many requests; try again in {wait_s} s."
            raise Fault(429, words, {"Retry-After": str(wait_s)})
        if caller.refusal is not None:
            raise Fault(403, caller.refusal)
        return caller

    async def _dispatch(self, call: Call, caller: Caller) -> Body:
        match call.method, call.path:
            case "GET", ["servers"]:
                return await self._list(call, caller, full=False)
            case "GET", ["servers", "detail"]:
                return await self._list(call, caller, full=True)
            case "GET", ["servers", server]:
                check_no_query(call.query, call.version)
                found = await self._find(call, caller, server)
                return {"server": Shown(call.root, call.version, caller).full(found)}
            case "GET", ["servers", server, "remote-consoles" | "remote_consoles"]:
                return await self._kinds(call, caller, server)
            case "POST", ["servers", server, "remote-consoles" | "remote_consoles"]:
                return await self._remote_console(call, caller, server)
            case "POST", ["servers", server, "action"]:
                return await self._action(call, caller, server)
            case "GET", [name, token] if name == TOKENS:
                return await self._show_token(call, caller, Token(token))
            case _, ["servers"] | ["servers", _]:
                raise Fault(405, "Servers can be read here, not changed.", {"Allow": "GET, HEAD"})
            case _, ["servers", _, "remote-consoles" | "remote_consoles"]:
                raise Fault(405, "Use GET or POST.", {"Allow": "GET, HEAD, POST"})
            case _, ["servers", _, "action"]:
                raise Fault(405, "Use POST.", {"Allow": "POST"})
            case _, [name, _] if name == TOKENS:
                raise Fault(405, "Use GET.", {"Allow": "GET, HEAD"})
            case _, ["servers", _, "consoles"]:
                raise Fault(410, "These consoles ended with Xen; use remote-consoles.")
        raise _nothing()

    async def _find(self, call: Call, caller: Caller, name_or_id: str) -> Server:
        server = await self._lookup.find_for(caller, name_or_id)
        call.found = True
        return server

    async def _list(self, call: Call, caller: Caller, full: bool) -> Body:
        check_list_query(call.query, call.version)
        listing = await self._lookup.list_for(caller)
        page = chosen(listing.servers, call.query, caller)
        shown = Shown(call.root, call.version, caller)
        body: Body = {"servers": [(shown.full if full else shown.brief)(s) for s in page.servers]}
        if page.following is not None:
            path = "servers/detail" if full else "servers"
            query = f"limit={len(page.servers)}&marker={page.following}"
            link = {"rel": "next", "href": f"{call.root}/v2.1/{path}?{query}"}
            body["servers_links"] = [link]
        if listing.faults:
            call.about = ", ".join(f"{fault.host}: {fault.reason}" for fault in listing.faults)
            hosts = [{"host": f.host, "reason": f.reason} for f in listing.faults if caller.admin]
            body["vncproxy"] = {"unreachable": len(listing.faults), "hosts": hosts}
        return body

    async def _kinds(self, call: Call, caller: Caller, name: str) -> Body:
        """Return which consoles a server has: ours, nova has no answer to that."""
        if call.version < REMOTE_CONSOLES:
            raise _nothing()
        check_no_query(call.query, call.version)
        kinds = await self._consoles.kinds_of(await self._find(call, caller, name))
        shown = [{"protocol": protocol, "type": kind} for protocol, kind in kinds.items()]
        return {"remote_consoles": shown}

    async def _remote_console(self, call: Call, caller: Caller, name: str) -> Body:
        if call.version < REMOTE_CONSOLES:
            raise _nothing()
        asked = remote_console_in(parse_json(call.json_body()), call.version)
        protocol, additions = asked["protocol"], asked.get("vncproxy")
        issued = await self._open(call, caller, name, protocol, asked["type"], additions)
        console = {"protocol": protocol, "type": asked["type"], "url": issued.url}
        return {"remote_console": _with_additions(console, issued, additions)}

    async def _action(self, call: Call, caller: Caller, name: str) -> Body:
        if call.version >= REMOTE_CONSOLES:
            raise _nothing()
        action, asked = action_in(parse_json(call.json_body()))
        protocol, additions = _ACTION_PROTOCOLS[action], asked.get("vncproxy")
        issued = await self._open(call, caller, name, protocol, asked["type"], additions)
        console = {"type": asked["type"], "url": issued.url}
        return {"console": _with_additions(console, issued, additions)}

    async def _open(
        self,
        call: Call,
        caller: Caller,
        name: str,
        protocol: str,
        console_type: str,
        additions: Body | None,
    ) -> Issued:
        server = await self._find(call, caller, name)
        asked = additions or {}
        wanted = Wanted(
            console_type_of(protocol, console_type),
            asked.get("ttl"),
            asked.get("single_use", False),
        )
        issued = await self._consoles.open(server, wanted)
        call.about = (
            f"{console_type} of {server.name} ({server.id}), token {issued.token.id} until "
            f"{issued.grant.expires}"
        )
        return issued

    async def _show_token(self, call: Call, caller: Caller, token: Token) -> Body:
        if not caller.admin:
            raise Fault(403, "Only administrators may look tokens up.")
        if call.version < SHOWS_TOKENS:
            raise Fault(400, f"Tokens are shown from microversion {SHOWS_TOKENS} on.")
        check_no_query(call.query, call.version, SPICE_DIRECT)
        try:
            grant = await self._store.find(token)
        except (TokenInvalid, TokenExpired) as error:
            raise Fault(404, "Token not found") from error
        console = {
            "instance_uuid": grant.instance_uuid,
            "host": grant.host,
            "port": grant.port,
            "internal_access_path": grant.internal_access_path,
        }
        return {"console": console}

    def _refuse(self, call: Call, fault: Fault, versions: dict[str, str]) -> None:
        call.about = call.shown_about(fault.for_operator or fault.message)
        if call.caller is None:
            close_after(call.request)
        self._finish(call, fault.status, fault.body, {**versions, **fault.headers})

    def _finish(self, call: Call, status: int, body: Body, headers: dict[str, str]) -> None:
        call.answer(status, body, headers)
        self._log.info(
            "{request_id} {caller} at {client}: {method} {path}: {status} in {ms:.0f} ms{about}",
            request_id=call.request_id,
            caller=_printable(call.caller.name) if call.caller else "-",
            client=call.client,
            method=call.method,
            path=call.shown_path,
            status=status,
            ms=1000 * (self._clock.seconds() - call.started),
            about=f": {_printable(call.about)}" if call.about else "",
        )

    def _broke(self, failure: Failure, call: Call) -> None:
        if failure.check(CancelledError):  # the client left; there is nobody to answer
            return
        self._log.failure("{request_id} could not be answered", failure, request_id=call.request_id)
        self._refuse(call, Fault(500, f"The gateway has a fault; see {call.request_id}."), {})


def _nothing() -> Fault:
    return Fault(404, "There is no such resource here.")


def _printable(text: str) -> str:
    """Return the text without what would begin a line of its own in the log."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _discovery(call: Call) -> Body:
    document = version_document(call.root)
    return {"version": document} if call.prefix else {"versions": [document]}


def _with_additions(console: Body, issued: Issued, asked: Body | None) -> Body:
    """Return the console, with what we add to nova's answer for those who asked for it."""
    if asked is None:
        return console
    return {**console, "vncproxy": {"expires": issued.grant.expires}}
