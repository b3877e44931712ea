"""Listening: endpoints out of the configuration's strings, and the services that open them.

A listener's string is a Twisted endpoint string, with up to two words of ours before it, in the
order in which they are met on the wire: ``haproxy:https:tcp:443`` expects the PROXY protocol's
header, then TLS. The latter's files and the balancers' addresses stand in options of their own.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.address import UNIXAddress
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from typing_extensions import override

from vncproxy.config.read import ConfigError
from vncproxy.edge.shared_port import SharedPort
from vncproxy.edge.socket_mode import is_wide, with_mode


@dataclass(frozen=True, slots=True)
class ListenString:
    """A listener's string, taken apart.

    Attributes:
        whole: as configured.
        proxy_header: whether it begins with ``haproxy:``.
        https: whether ``https:`` follows.
        endpoint: Twisted's part of it.
    """

    whole: str
    proxy_header: bool
    https: bool
    endpoint: str

    @property
    def speaks_twisteds_tls(self) -> bool:
        """Whether Twisted's endpoint speaks TLS itself, by options of its own."""
        return self.endpoint.startswith(("ssl:", "tls:"))

    @classmethod
    def parse(cls, description: str) -> ListenString:
        """Take a string apart; whether Twisted knows the endpoint is found out later."""
        rest = description.removeprefix("haproxy:")
        endpoint = rest.removeprefix("https:")
        return cls(description, rest != description, endpoint != rest, endpoint)

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it: a UNIX socket, or one address of loopback.

        Behind a balancer anybody may be. What Twisted's parser would make of two interfaces, or of
        a name that only begins like an address, is not asked: these are not local.
        """
        kind, *arguments = re.split(r"(?<!\\):", self.endpoint)
        if self.proxy_header or kind == "unix":
            return not self.proxy_header
        interfaces = [it for it in arguments if it.startswith("interface=")]
        return kind in ("tcp", "tcp6", "ssl") and len(interfaces) == 1 and _is_loopback(*interfaces)


def _is_loopback(interface: str) -> bool:
    host = interface.removeprefix("interface=").replace("\\:", ":")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def endpoint_from(
    reactor: Any,  # noqa: ANN401
    description: str,
    option: str = "[vncproxy] listen",
) -> IStreamServerEndpoint:
    """Return the endpoint that the string of this option describes, without its words of ours.

    Raises:
        ConfigError: it describes none.
    """
    try:
        endpoint: IStreamServerEndpoint = serverFromString(
            _AdoptsAsItIs(reactor), with_mode(ListenString.parse(description).endpoint)
        )
    except Exception as error:  # endpoint parsers raise whatever their reader raised
        raise ConfigError(
            f"{option}: {description!r} can't be used: {error or type(error).__name__}"
        ) from error
    return endpoint


class _AdoptsAsItIs:
    """A reactor that leaves the mode and the path of a UNIX socket to whoever has opened it.

    Twisted's lets everybody connect, and removes the path at the end.
    """

    def __init__(self, reactor: Any) -> None:  # noqa: ANN401
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._reactor, name)

    def adoptStreamPort(  # noqa: N802
        self, descriptor: int, family: socket.AddressFamily, factory: IProtocolFactory
    ) -> IListeningPort:
        if family != socket.AF_UNIX:
            adopted: IListeningPort = self._reactor.adoptStreamPort(descriptor, family, factory)
            return adopted
        port = SharedPort(self._reactor, os.dup(descriptor), factory, ahead=lambda: False)
        port.startListening()
        return port


class Listener(StreamServerEndpointService):
    """One listening endpoint; a port in use ends the start with one line.

    Args:
        description: of the endpoint, as configured.
        endpoint: to listen on.
        factory: serves its connections.
        options: that choose the address, for the error line.
    """

    _log = Logger()

    def __init__(
        self,
        description: str,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        options: str = "[vnc] novncproxy_port or [vncproxy] listen",
    ) -> None:
        super().__init__(endpoint, factory)
        self._description = description
        self._options = options
        self._raiseSynchronously = True

    @override
    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except CannotListenError as error:
            self._log.critical(
                "can't listen on {description}: {reason}; stop the other program, or choose "
                "another address with {options}",
                options=self._options,
                description=self._description,
                reason=getattr(error.socketError, "strerror", None) or error.socketError,
            )
            raise SystemExit(1) from error
        self._log.info("listening on {description}", description=self._description)
        if self._waitingForPort is not None:
            self._waitingForPort.addCallback(self._say_who_may_connect)

    def _say_who_may_connect(self, port: IListeningPort) -> IListeningPort:
        address = port.getHost()
        # A socket of systemd's has its mode from there; one in Linux' own namespace has no path.
        if isinstance(address, UNIXAddress) and address.name and address.name[0]:
            with suppress(OSError):  # its path may be out of our sight
                self._warn_if_wide(os.fsdecode(address.name))
        return port

    def _warn_if_wide(self, path: str) -> None:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if is_wide(mode):
            self._log.warn(
                "every user of this machine may connect to {path} (mode {mode:04o}); set "
                ":mode=660 in the listener's string, or SocketMode=0660 in systemd's unit",
                path=path,
                mode=mode,
            )
