"""The limits that the settings ask for."""

from __future__ import annotations

import resource
from collections.abc import Callable

from vncproxy.config.settings import Settings
from vncproxy.limits.failures import FailedTokens
from vncproxy.limits.node import NodeLimits
from vncproxy.limits.rate import Rate
from vncproxy.limits.seats import MostSessions, Seats

_OTHER_DESCRIPTORS = 100  # log, database, listeners, epoll
_OF_A_SESSION = 2
_MOST_DESCRIPTORS = 1 << 20  # where there is no limit


def node_limits(settings: Settings, now: Callable[[], float], processes: int = 1) -> NodeLimits:
    """Return the counters of a gateway, all at 0.

    Args:
        settings: say how much of what is allowed.
        now: seconds of a clock that never jumps.
        processes: that carry the sessions, each with as many open files as this one.
    """
    limits = settings.limits
    most_of_all = most_sessions_of(settings, use_all_descriptors())
    if limits.max_sessions is None:
        most_of_all *= processes
    most = MostSessions(
        most_of_all,
        limits.max_sessions_per_client,
        limits.max_sessions_per_instance,
        limits.max_sessions_per_token,
    )
    return NodeLimits(
        Rate(limits.connection_rate, limits.connection_burst, now),
        FailedTokens(limits.failed_tokens, now),
        Seats(most),
    )


def seats_of_a_process(settings: Settings) -> Seats:
    """Return the seats that one of several processes has, by its open files, all of them free."""
    return Seats(MostSessions(most_sessions_of(settings, use_all_descriptors())))


def most_sessions_of(settings: Settings, descriptors: int) -> int:
    """Return how many sessions a process with so many descriptors may have; 0 for any number."""
    if settings.limits.max_sessions is not None:
        return settings.limits.max_sessions
    pending = most_pending_of(settings, descriptors) * _shares_of_pending(settings)
    others = pending + _OTHER_DESCRIPTORS
    return max(1, (descriptors - others) // _OF_A_SESSION)


def most_pending_of(settings: Settings, descriptors: int) -> int:
    """Return how many connections each kind of listener may have that are nobody's yet.

    It is what is configured, but of all descriptors half are for sessions: where none is left for
    a new connection, nobody gets in. 0 is for any number.
    """
    return min(
        settings.limits.max_unauthenticated, descriptors // 2 // _shares_of_pending(settings)
    )


def _shares_of_pending(settings: Settings) -> int:
    """Return how often so many may be in one process: those that wait, those that are told why."""
    beside = [settings.api.api_listen, settings.watching.metrics_listen]
    return 2 + sum(map(bool, beside))


def use_all_descriptors() -> int:
    """Raise this process' limit of open files as far as it may, and return it."""
    most = most_descriptors()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def most_descriptors() -> int:
    """Return as how many open files this process could set its limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
