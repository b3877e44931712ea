"""The driver ``qmp``: QEMU processes of this machine, asked by their monitors' sockets."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred, DeferredLock, TimeoutError
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from typing_extensions import override

from vncproxy.compute.interface import (
    CONSOLE_TYPES,
    Console,
    ConsoleTypeUnsupported,
    HostFault,
    HostUnreachable,
    Listing,
    NoSuchConsole,
    Server,
    ServerNotFound,
)
from vncproxy.compute.listening import Way, dialled, usable
from vncproxy.compute.lookup import canonical_id, one_each, the_one
from vncproxy.compute.qmp_answers import (
    ABOUT_CONSOLES,
    ABOUT_SERVER,
    Answers,
    consoles_of,
    id_of,
    server_of,
)
from vncproxy.compute.qmp_talk import QmpFault, QmpTalk
from vncproxy.compute.together import together
from vncproxy.interfaces import IStreamTransport
from vncproxy.patterns import paths
from vncproxy.reason import reason_of

_HERE = Way("127.0.0.1", local=True)
_QUEUE_S = 0.05
_NOBODY_LISTENS = (errno.ENOENT, errno.ECONNREFUSED)


class QmpDriver:
    """Finds the QEMU processes behind monitors' sockets (see ``interface.ComputeDriver``).

    A socket on which nobody listens is that of a machine that does not run: it is not known.

    Args:
        sockets: their paths, or patterns with ``*``, looked up anew each time.
        reactor: connects, and runs the time-outs.
        timeout_s: seconds, > 0, that an answer may take.
    """

    def __init__(self, sockets: Sequence[str], reactor: IReactorTime, timeout_s: float) -> None:
        self._patterns = tuple(sockets)
        self._reactor = reactor
        self._timeout_s = timeout_s
        # A monitor talks to one client at a time, and keeps only one more waiting.
        self._turns: dict[str, DeferredLock] = {}

    async def list_servers(self) -> Listing:
        """Return every machine whose monitor answers."""
        servers, faults = await self._servers()
        return Listing(tuple(one_each(servers)), tuple(faults))

    async def find_servers(self, name_or_id: str) -> Listing:
        """Return the machines of this UUID or name."""
        servers, faults = await self._servers()
        wanted = (name_or_id, canonical_id(name_or_id))
        found = [server for server in servers if server.name in wanted or server.id in wanted]
        return Listing(tuple(one_each(found)), tuple(faults))

    async def find_server(self, name_or_id: str) -> Server:
        """Return a machine by its UUID or name."""
        return the_one(name_or_id, await self.find_servers(name_or_id))

    async def find_console(self, server: Server, console_type: str) -> Console:
        """Return where a machine's console listens now."""
        if console_type not in CONSOLE_TYPES:
            raise ConsoleTypeUnsupported(console_type)
        answers = await self._ask(server.host, ABOUT_CONSOLES)
        if isinstance(answers, HostFault):
            raise HostUnreachable(server.name, [answers])
        if answers is None or id_of(answers, server.host) != server.id:
            raise ServerNotFound(f"Server {server.name} could not be found.")
        listening = usable(consoles_of(answers), console_type, server.name)
        console = dialled(listening, console_type, server.name, _HERE)
        if console.host.startswith("/"):
            _check_owner(console, server)
        return console

    def stop(self) -> None:
        """Do nothing: no connection outlives its question."""

    async def _servers(self) -> tuple[list[Server], list[HostFault]]:
        sockets = {path for pattern in self._patterns for path in paths(pattern)}
        answers = await together(self._server(path) for path in sorted(sockets))
        return (
            [answer for answer in answers if isinstance(answer, Server)],
            [answer for answer in answers if isinstance(answer, HostFault)],
        )

    async def _server(self, path: str) -> Server | HostFault | None:
        answers = await self._ask(path, ABOUT_SERVER)
        if answers is None or isinstance(answers, HostFault):
            return answers
        return server_of(answers, path)

    async def _ask(self, path: str, commands: Sequence[str]) -> Answers | HostFault | None:
        """Return a monitor's answers, why it gives none, or None where nobody listens."""
        asking = Deferred.fromCoroutine(self._in_turn(path, commands))
        asking.addTimeout(self._timeout_s, self._reactor)
        try:
            return await asking
        except TimeoutError:
            silence = f"it did not answer in {self._timeout_s:g} s; is another program using it?"
            return HostFault(path, silence)
        except QmpFault as fault:
            return HostFault(path, str(fault))
        except ConnectError as error:
            if error.osError in _NOBODY_LISTENS:
                return None
            return HostFault(path, str(error))
        except CancelledError:  # nobody asks any more
            raise
        except Exception as error:
            return HostFault(path, reason_of(error))

    async def _in_turn(self, path: str, commands: Sequence[str]) -> Answers:
        turn = self._turns.setdefault(path, DeferredLock())
        await turn.acquire()
        try:
            return await self._converse(path, commands)
        finally:
            turn.release()
            if not turn.locked:
                self._turns.pop(path, None)

    async def _converse(self, path: str, commands: Sequence[str]) -> Answers:
        answers: Deferred[Answers] = Deferred()
        conversation = _Conversation(QmpTalk(commands), answers)
        await self._connect(path, conversation)
        try:
            return await answers
        finally:
            conversation.transport.abortConnection()
            await conversation.gone  # only then does QEMU take the next client

    async def _connect(self, path: str, conversation: _Conversation) -> None:
        endpoint = UNIXClientEndpoint(self._reactor, path, self._timeout_s)
        while True:
            try:
                await connectProtocol(endpoint, conversation)
                return
            except ConnectError as error:
                if error.osError is not None:
                    raise
            # EAGAIN, for which Twisted has no word: too many clients wait for this monitor.
            await deferLater(self._reactor, _QUEUE_S)


def _check_owner(console: Console, server: Server) -> None:
    """Check that the socket that a QEMU names as its console is of whoever runs that QEMU.

    The guest of a QEMU may have taken it over. It reaches what its user reaches, and what it says
    must not lead it, by way of the gateway, to sockets that the gateway reaches besides.

    Raises:
        NoSuchConsole: it is somebody else's, or is not there.
    """
    words = f"The console of server {server.name} can't be reached."
    try:
        owner, monitors = os.stat(console.host).st_uid, os.stat(server.host).st_uid
    except (OSError, ValueError) as error:
        raise NoSuchConsole(words, f"{words} {console.host}: {error}") from error
    if owner != monitors:
        raise NoSuchConsole(
            words,
            f"{words} Its socket {console.host} is of user {owner}, but its monitor "
            f"{server.host} of user {monitors}; let QEMU make both",
        )


class _Conversation(Protocol):
    """A connection to a monitor, for as long as the talk goes on."""

    transport: IStreamTransport

    def __init__(self, talk: QmpTalk, answers: Deferred[Answers]) -> None:
        self._talk = talk
        self._answers = answers
        self.gone: Deferred[None] = Deferred()

    @override
    def dataReceived(self, data: bytes) -> None:
        if self._answers.called:
            return
        try:
            self._talk.receive(data)
        except QmpFault as fault:
            self._answers.errback(fault)
            return
        self.transport.write(self._talk.data_to_send())
        if self._talk.result is not None:
            self._answers.callback(self._talk.result)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._answers.called:
            self._answers.errback(QmpFault("it closed the connection"))
        self.gone.callback(None)
