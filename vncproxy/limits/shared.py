"""The limits of a gateway of several processes: the parent counts, its workers ask it, in AMP."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, execute, succeed
from twisted.protocols.amp import Argument, Boolean, Command, CommandLocator, Unicode
from twisted.python.failure import Failure

from vncproxy import errors
from vncproxy.config.settings import Settings
from vncproxy.errors import GatewayCrowded, GatewayError, Later
from vncproxy.interfaces import Limits
from vncproxy.limits.seats import Seats
from vncproxy.model import Seat

_Fields = list[tuple[bytes, Argument]]
_REFUSAL: _Fields = [(b"refusal", Unicode())]  # JSON of an error, or ""
_ERRORS: dict[str, type[GatewayError]] = {
    kind.ending.value: kind
    for kind in (
        errors.ClientTooFast,
        errors.TooManyFailedTokens,
        errors.GatewayFull,
        errors.ClientFull,
        errors.InstanceFull,
        errors.TokenFull,
    )
}


class Arrive(Command):
    """To the parent: ``Limits.arrive``."""

    arguments: ClassVar[_Fields] = [(b"client", Unicode())]
    response = _REFUSAL


class BeginLookUp(Command):
    """To the parent: ``Limits.begin_look_up``; the answer comes when it is the client's turn."""

    arguments: ClassVar[_Fields] = [(b"client", Unicode())]
    response = _REFUSAL


class EndLookUp(Command):
    """To the parent: ``Limits.end_look_up``."""

    arguments: ClassVar[_Fields] = [
        (b"client", Unicode()),
        (b"known", Boolean()),
        (b"good", Boolean()),
    ]
    requiresAnswer = False


class HaveRoom(Command):
    """To the parent: ``Limits.have_room``."""

    arguments: ClassVar[_Fields] = []
    response = _REFUSAL


class TakeSeat(Command):
    """To the parent: ``Limits.take_seat``."""

    arguments: ClassVar[_Fields] = [
        (b"name", Unicode()),
        (b"client", Unicode()),
        (b"instance", Unicode()),
        (b"token", Unicode()),
        (b"channel", Boolean()),
    ]
    response = _REFUSAL


class LeaveSeat(Command):
    """To the parent: ``Limits.leave_seat``."""

    arguments: ClassVar[_Fields] = [(b"name", Unicode())]
    requiresAnswer = False


@dataclass(frozen=True, slots=True)
class Shared:
    """The limits that are set, and that several processes can only hold together.

    Attributes:
        rate: of arrivals.
        failures: of bad tokens.
        sessions: of the node, a client, a machine or a token.
    """

    rate: bool
    failures: bool
    sessions: bool

    @classmethod
    def of(cls, settings: Settings) -> Shared:
        """Return what these settings set."""
        limits = settings.limits
        sessions = (
            limits.max_sessions,
            limits.max_sessions_per_client,
            limits.max_sessions_per_instance,
            limits.max_sessions_per_token,
        )
        return cls(bool(limits.connection_rate), bool(limits.failed_tokens), any(sessions))


class SharedLimits:
    """A worker's view of the parent's limits (see ``interfaces.Limits``).

    Args:
        call: sends a command to the parent, as ``AMP.callRemote`` does.
        shared: which limits are set; the parent is not asked about others, so that refusing a
            token costs it nothing where no limit is on that.
        own: the seats that this process has itself, whatever the others do.
    """

    def __init__(self, call: Callable[..., Any], shared: Shared, own: Seats) -> None:
        self._call = call
        self._shared = shared
        self._own = own

    def arrive(self, client: str) -> Deferred[None]:
        """Count a request for a console."""
        return self._ask(Arrive, client=client) if self._shared.rate else succeed(None)

    def begin_look_up(self, client: str) -> Deferred[None]:
        """Wait for the turn to look a token up."""
        if not self._shared.failures:
            return succeed(None)
        turn: Deferred[None] = Deferred()

        def granted(_: None) -> None:
            if turn.called:  # who waited has gone, and gives its turn back
                self.end_look_up(client, None)
            else:
                turn.callback(None)

        def refused(failure: Failure) -> None:
            if not turn.called:
                turn.errback(failure)

        self._ask(BeginLookUp, client=client).addCallbacks(granted, refused)
        return turn

    def end_look_up(self, client: str, good: bool | None) -> None:
        """Tell what the token was."""
        if not self._shared.failures:
            return
        self._call(EndLookUp, client=client, known=good is not None, good=bool(good))

    def have_room(self) -> Deferred[None]:
        """Ask whether there is a place in any of the processes."""
        return self._ask(HaveRoom) if self._shared.sessions else execute(self._own.check_node)

    def take_seat(self, name: str, seat: Seat) -> Deferred[None]:
        """Ask for a place; when this fails or is cancelled, ``leave_seat`` must follow."""
        taken: Deferred[None] = execute(self._own.take, name, seat)
        if self._shared.sessions:
            taken.addCallback(lambda _: self._ask_for_seat(name, seat))
        return taken

    def _ask_for_seat(self, name: str, seat: Seat) -> Deferred[None]:
        return self._ask(
            TakeSeat,
            name=name,
            client=seat.client,
            instance=seat.instance,
            token=seat.token,
            channel=seat.channel,
        )

    def leave_seat(self, name: str) -> None:
        """Give the place back."""
        self._own.leave(name)
        if self._shared.sessions:
            self._call(LeaveSeat, name=name)

    def _ask(self, command: type[Command], **arguments: object) -> Deferred[None]:
        # Not AMP's own Deferred: a refusal that is left on that ends the connection.
        done: Deferred[None] = Deferred()
        asked: Deferred[dict[str, str]] = self._call(command, **arguments)
        asked.addCallbacks(_refusal_of, _no_parent).addCallback(_settle, done)
        return done


class LimitsKeeper(CommandLocator):
    """The parent's answers to one worker.

    Args:
        limits: counted for all workers.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits
        self._seats: set[str] = set()
        self._looking: list[str] = []
        self._waiting: set[Deferred[dict[str, str]]] = set()

    def worker_gone(self) -> None:
        """Take back whatever the worker had."""
        for turn in list(self._waiting):
            turn.cancel()
        for client in self._looking:
            self._limits.end_look_up(client, None)
        for name in self._seats:
            self._limits.leave_seat(name)
        self._looking.clear()
        self._seats.clear()

    @Arrive.responder
    def arrive(self, client: str) -> Deferred[dict[str, str]]:
        """Answer ``Arrive``."""
        return self._limits.arrive(client).addCallbacks(_no_refusal, _refusal)

    @BeginLookUp.responder
    def begin_look_up(self, client: str) -> Deferred[dict[str, str]]:
        """Answer ``BeginLookUp``."""

        def granted(_: None) -> dict[str, str]:
            self._looking.append(client)
            return _no_refusal(None)

        turn = self._limits.begin_look_up(client).addCallbacks(granted, _refusal)
        self._waiting.add(turn)
        return turn.addBoth(self._waited, turn)

    def _waited(self, result: dict[str, str], turn: Deferred[dict[str, str]]) -> dict[str, str]:
        self._waiting.discard(turn)
        return result

    @EndLookUp.responder
    def end_look_up(self, client: str, known: bool, good: bool) -> dict[str, object]:
        """Follow ``EndLookUp``."""
        if client in self._looking:
            self._looking.remove(client)
            self._limits.end_look_up(client, good if known else None)
        return {}

    @HaveRoom.responder
    def have_room(self) -> Deferred[dict[str, str]]:
        """Answer ``HaveRoom``."""
        return self._limits.have_room().addCallbacks(_no_refusal, _refusal)

    @TakeSeat.responder
    def take_seat(
        self, name: str, client: str, instance: str, token: str, channel: bool
    ) -> Deferred[dict[str, str]]:
        """Answer ``TakeSeat``."""

        def taken(_: None) -> dict[str, str]:
            self._seats.add(name)
            return _no_refusal(None)

        seat = Seat(client, instance, token, channel)
        return self._limits.take_seat(name, seat).addCallbacks(taken, _refusal)

    @LeaveSeat.responder
    def leave_seat(self, name: str) -> dict[str, object]:
        """Follow ``LeaveSeat``."""
        self._seats.discard(name)
        self._limits.leave_seat(name)
        return {}


def _no_refusal(_: None) -> dict[str, str]:
    return {"refusal": ""}


def _refusal(failure: Failure) -> dict[str, str]:
    error = failure.value
    if not isinstance(error, GatewayError):
        raise error or RuntimeError("a failure without an error")
    retry_s = error.retry_after_s if isinstance(error, Later) else None
    return {"refusal": json.dumps([error.ending.value, str(error), retry_s])}


def _refusal_of(answer: dict[str, str]) -> GatewayError | None:
    if not answer["refusal"]:
        return None
    ending, text, retry_s = json.loads(answer["refusal"])
    kind = _ERRORS[ending]
    return kind(text, retry_s) if issubclass(kind, Later) else kind(text)


def _no_parent(failure: Failure) -> GatewayError:
    return GatewayCrowded(f"the parent process does not count: {failure.getErrorMessage()}")


def _settle(error: GatewayError | None, done: Deferred[None]) -> None:
    if done.called:  # who asked has gone
        return
    if error is None:
        done.callback(None)
    else:
        done.errback(error)
