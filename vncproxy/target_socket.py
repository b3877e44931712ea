"""Connecting to a UNIX socket, but to none where no console may be.

The file that is checked is the file that is dialled: it is opened once, and no path is followed
again after that, in which a link could have been put meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from vncproxy.errors import TargetForbidden


@implementer(IStreamClientEndpoint)
class CheckedSocket:
    """A UNIX socket by path.

    Args:
        reactor: connects.
        path: absolute; links in it are followed.
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
            descriptor = os.open(self._path, os.O_PATH | os.O_CLOEXEC)
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
