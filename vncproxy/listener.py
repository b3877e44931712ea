"""Listening: endpoints out of the configuration's strings, and the services that open them."""

from __future__ import annotations

from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from typing_extensions import override

from vncproxy.config.read import ConfigError


def endpoint_from(
    reactor: Any,  # noqa: ANN401
    description: str,
    option: str = "[vncproxy] listen",
) -> IStreamServerEndpoint:
    """Return the endpoint that the string of this option describes.

    Raises:
        ConfigError: it describes none.
    """
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    except Exception as error:  # endpoint parsers raise whatever their reader raised
        raise ConfigError(
            f"{option}: {description!r} can't be used: {error or type(error).__name__}"
        ) from error
    return endpoint


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
