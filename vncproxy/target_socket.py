"""Connecting to a UNIX socket, but to none where no console may be.

The file that is checked is the file that is dialled: it is opened once, and no path is followed
again after that, in which a link could have been put meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from vncproxy.errors import TargetForbidden

_MOST_LINKS = 40  # Linux' own bound


@implementer(IStreamClientEndpoint)
class CheckedSocket:
    """A UNIX socket by path.

    Args:
        reactor: connects.
        path: absolute; links in it are followed, but those of other people than the socket's
            owner, root and ourselves: they lead us where they may not go.
        timeout_s: seconds, > 0, for the connection.
        check: raises ``TargetForbidden`` for a path, without links, where no console may be.
    """

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401  all of its interfaces
        path: str,
        timeout_s: float,
        check: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._timeout_s = timeout_s
        self._check = check

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fails with ``TargetForbidden``, or with ``OSError`` where there is no file."""
        try:
            # Before anything is opened: a forbidden path answers alike, whether it exists or not.
            real = os.path.realpath(self._path)
            self._check(real)
            if not hasattr(os, "O_PATH"):  # not Linux: the best there is
                return self._dial(real, protocolFactory)
            descriptor = _open(self._path)
        except (TargetForbidden, OSError, ValueError):  # the last: a zero byte in the path
            return fail()
        opened = f"/proc/self/fd/{descriptor}"
        try:
            self._check(os.readlink(opened))
        except (TargetForbidden, OSError):
            os.close(descriptor)
            return fail()

        def close(result: object) -> object:
            os.close(descriptor)
            return result

        return self._dial(opened, protocolFactory).addBoth(close)

    def _dial(self, path: str, factory: IProtocolFactory) -> Deferred[IProtocol]:
        endpoint = UNIXClientEndpoint(self._reactor, path, self._timeout_s)
        connecting: Deferred[IProtocol] = endpoint.connect(factory)
        return connecting


def _open(path: str) -> int:
    """Return a descriptor of the file at a path, whose links are looked at as they are followed.

    Raises:
        TargetForbidden: a link is neither root's, nor ours, nor of the file's owner.
        OSError: there is no such file.
    """
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    names = _reversed(path)
    makers: dict[int, str] = {}
    links = 0
    here = os.open("/", flags)
    try:
        while names:
            name = names.pop()
            found = os.open(name, flags, dir_fd=here)
            status = os.fstat(found)
            if not stat.S_ISLNK(status.st_mode):
                os.close(here)
                here = found
                continue
            try:
                target = os.readlink("", dir_fd=found)
            finally:
                os.close(found)
            makers.setdefault(status.st_uid, name)
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                os.close(here)
                here = -1
                here = os.open("/", flags)
            names += _reversed(target)
        trusted = {0, os.geteuid(), os.fstat(here).st_uid}
        for maker, name in makers.items():
            if maker not in trusted:
                raise TargetForbidden(
                    f"on the way to the UNIX socket {path} the link {name} is of user {maker}, who "
                    "is neither root, nor the gateway, nor the socket's owner"
                )
    except BaseException:
        if here >= 0:
            os.close(here)
        raise
    return here


def _reversed(path: str) -> list[str]:
    return [name for name in reversed(path.split("/")) if name]
