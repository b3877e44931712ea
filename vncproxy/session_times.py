"""Ending sessions that nobody uses, or that last too long.

Nothing is added to a byte's way for it: once a second the counters are read that a session keeps
anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from typing_extensions import override

from vncproxy.model import Ending, SessionFacts
from vncproxy.registry import Registry
from vncproxy.session import Session

_EVERY_S = 1.0
# Of a FramebufferUpdateRequest (RFC 6143 §7.5.3), with which a client answers each picture. Keys
# have 8 or 12 and pointers 6: their sum is a multiple of 10 now and then, not second by second.
_UPDATE_REQUEST_BYTES = 10


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """When a session ends by itself; seconds, 0 for never.

    Attributes:
        client_idle_s: without input.
        server_idle_s: without anything from the console's server.
        longest_s: since its start.
    """

    client_idle_s: float = 0
    server_idle_s: float = 0
    longest_s: float = 0

    def __bool__(self) -> bool:
        return bool(self.client_idle_s or self.server_idle_s or self.longest_s)


@dataclass(slots=True)
class _Seen:
    """What was seen of a session's two directions, and when they last moved."""

    to_client: int
    to_server: int
    server_moved: float
    client_moved: float

    def look(self, facts: SessionFacts, now: float) -> None:
        if facts.bytes_to_client != self.to_client:
            self.server_moved = now
        sent = facts.bytes_to_server - self.to_server
        rfb = facts.grant is not None and facts.grant.console_type == "novnc"
        if sent % _UPDATE_REQUEST_BYTES if rfb else sent:
            self.client_moved = now
        self.to_client, self.to_server = facts.bytes_to_client, facts.bytes_to_server


class SessionTimes(Service):
    """Looks at every session once a second.

    Args:
        registry: has the sessions.
        limits: of every session.
        clock: whose seconds are those of ``SessionFacts.started``.
    """

    def __init__(self, registry: Registry, limits: TimeLimits, clock: IReactorTime) -> None:
        self._registry = registry
        self._limits = limits
        self._clock = clock
        self._seen: dict[Session, _Seen] = {}
        self._looks = LoopingCall(self._look)
        self._looks.clock = clock

    @override
    def startService(self) -> None:
        super().startService()
        self._looks.start(_EVERY_S, now=False)

    @override
    def stopService(self) -> None:
        super().stopService()
        self._looks.stop()

    def _look(self) -> None:
        now = self._clock.seconds()
        before, self._seen = self._seen, {}
        for session in self._registry:
            facts = session.facts
            if facts.ending is not None:
                continue
            seen = before.get(session) or _Seen(0, 0, facts.started, facts.started)
            seen.look(facts, now)
            self._seen[session] = seen
            self._end_if_over(session, seen, now)

    def _end_if_over(self, session: Session, seen: _Seen, now: float) -> None:
        for limit_s, since, ending in (
            (self._limits.longest_s, session.facts.started, Ending.SESSION_TOO_LONG),
            (self._limits.client_idle_s, seen.client_moved, Ending.CLIENT_IDLE),
            (self._limits.server_idle_s, seen.server_moved, Ending.SERVER_IDLE),
        ):
            if limit_s and now - since >= limit_s:
                session.end(ending, f"after {limit_s:g} s")
                return
