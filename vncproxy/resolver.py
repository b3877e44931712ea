"""Addresses of the hosts of consoles: the one place where names are looked up.

Names are asked of the system (``getaddrinfo``), so that the gateway finds what ``getent ahosts``
finds: /etc/hosts, DNS, mDNS, LDAP, libvirt's guests, with nsswitch.conf and resolv.conf as they
are. That blocks, and with a silent name server for long; so it has threads of its own, one for a
name, and none for what is an address already.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from vncproxy.compute.threads import BoundedThreads
from vncproxy.errors import GatewayError, TargetUnreachable, TargetUnresolved
from vncproxy.threads import IReactor

_MOST_LOOKUPS = 256  # that hang together; a thread that hangs costs memory, not time
_MOST_CHARACTERS = 253  # of a name (RFC 1035 §2.3.4)
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_NO_SUCH_HOST = {  # not every system has all of them
    getattr(socket, name, socket.EAI_NONAME)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
}

Addresses = tuple[str, ...]
GetAddrInfo = Callable[..., Sequence[tuple[Any, ...]]]
_Waiter = Deferred[Addresses]


class _Lookup:
    """A look-up under way.

    Attributes:
        first: those who wait for it since before it began.
        late: those who came later. They take its answer; but when it fails, it may have hung for
            longer than the name server did, so they get another one.
    """

    def __init__(self, first: dict[_Waiter, None]) -> None:
        self.first = first
        self.late: dict[_Waiter, None] = {}

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits."""
        return bool(self.first or self.late)


class _Unwanted(Exception):
    """Nobody waited for the look-up any more when its turn came."""


class Resolver:
    """Looks hosts up, without keeping anybody waiting who asks for another.

    Args:
        reactor: runs the callbacks and the time-outs.
        most: look-ups that may run at once, > 0; the others wait in turn.
        getaddrinfo: asks the system; blocks.
    """

    def __init__(
        self,
        reactor: IReactor,
        most: int = _MOST_LOOKUPS,
        getaddrinfo: GetAddrInfo = socket.getaddrinfo,
    ) -> None:
        self._reactor = reactor
        self._getaddrinfo = getaddrinfo
        self._threads = BoundedThreads(reactor, most, "look-up")
        self._lookups: dict[str, _Lookup] = {}

    @property
    def running(self) -> int:
        """How many look-ups hold a thread now."""
        return self._threads.running

    def resolve(self, host: str, timeout_s: float) -> Deferred[Addresses]:
        """Return the addresses of a host, one or more, in the order in which to try them.

        It fails with ``TargetUnreachable`` where there is no such host, and with
        ``TargetUnresolved`` where that can't be found out, or not in time. Cancelling it leaves
        the others alone who wait for the same name.

        Args:
            host: a name or an address, as ``getaddrinfo`` takes it.
            timeout_s: seconds to wait, > 0.
        """
        try:
            addresses = _addresses_in(host)
            if addresses:
                return succeed(addresses)
            name = _name_in(host)
        except ValueError:
            return fail(TargetUnreachable(f"{host!r}: no such host"))

        def too_late(_cancelled: object, timeout_s: float) -> NoReturn:
            raise TargetUnresolved(f"the name {name} could not be looked up in {timeout_s:g} s")

        waiter = _Waiter(partial(self._forget, name))
        if name in self._lookups:
            self._lookups[name].late[waiter] = None
        else:
            self._begin(name, {waiter: None})
        return waiter.addTimeout(timeout_s, self._reactor, too_late)

    def _forget(self, name: str, waiter: _Waiter) -> None:
        lookup = self._lookups.get(name)
        if lookup is not None:
            lookup.first.pop(waiter, None)
            lookup.late.pop(waiter, None)

    def _begin(self, name: str, waiting: dict[_Waiter, None]) -> None:
        lookup = self._lookups[name] = _Lookup(waiting)

        def ask() -> Addresses:
            if not lookup.wanted:
                raise _Unwanted
            return _addresses(self._getaddrinfo(name, None, socket.AF_UNSPEC, socket.SOCK_STREAM))

        self._threads.call(ask).addBoth(self._answered, name, lookup)

    def _answered(self, result: Addresses | Failure, name: str, lookup: _Lookup) -> None:
        """Pass an answer on to all who wait, and a failure to those whom it is for."""
        del self._lookups[name]
        waiting = dict(lookup.first)
        if isinstance(result, Failure) and not _is_final(result.value) and lookup.late:
            self._begin(name, lookup.late)
        else:
            waiting.update(lookup.late)
        for waiter in waiting:
            if waiter.called:
                continue  # it gave up when another one was told
            if isinstance(result, Failure):
                waiter.errback(_error(name, result.value))  # one each, for their tracebacks grow
            else:
                waiter.callback(result)


def _addresses_in(host: str) -> Addresses:
    """Return the address that a host is in some notation of it, or nothing; never blocks.

    Raises:
        ValueError: it is nothing that a host can be called.
    """
    if len(host) > _MOST_CHARACTERS:
        raise ValueError(host)
    try:
        found = socket.getaddrinfo(host, None, socket.AF_UNSPEC, socket.SOCK_STREAM, 0, _NUMERIC)
    except socket.gaierror:
        return ()
    return _addresses(found)


def _addresses(found: Sequence[tuple[Any, ...]]) -> Addresses:
    return tuple(dict.fromkeys(address[0] for *_, address in found))


def _name_in(host: str) -> str:
    """Return what to look up, in ASCII.

    Raises:
        ValueError: it is nothing that a host can be called.
    """
    name = host.encode("idna").decode("ascii")
    if not _NAME.fullmatch(name):
        raise ValueError(host)
    return name


def _is_final(error: BaseException | None) -> bool:
    """Return whether somebody has answered, and it is no."""
    return isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_HOST


def _error(name: str, error: BaseException | None) -> GatewayError:
    """Return the error for what a look-up failed with."""
    if _is_final(error):
        return TargetUnreachable(f"{name}: no such host")
    reason = getattr(error, "strerror", None) or repr(error)
    return TargetUnresolved(f"the name {name} could not be looked up: {reason}")
