"""Drives both RFB handshakes of a session over its two legs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vncproxy.errors import ClientNotRfb, GatewayError, HandshakeError
from vncproxy.interfaces import Leg
from vncproxy.model import Credentials
from vncproxy.rfb.handshake import ClientHandshake, ServerHandshake
from vncproxy.rfb.messages import Version
from vncproxy.rfb.reader import TlsDemand


class Negotiator:
    """Greets the browser at once, and lets it in when the server has let us in.

    It is the ``opening.Opening`` of VNC consoles.

    Args:
        browser: the client's leg; what it receives comes here until ``agreed`` fires.
        failed: called when a handshake fails, from whichever side.
        auth_schemes: RFB security accepted from servers, the most wanted first.
    """

    _log = Logger()

    def __init__(
        self,
        browser: Leg,
        failed: Callable[[GatewayError], None],
        auth_schemes: Sequence[str],
    ) -> None:
        self._browser = browser
        self._failed = failed
        self._auth_schemes = auth_schemes
        self._client = ClientHandshake()
        self._server_leg: Leg | None = None
        self._server: ServerHandshake | None = None
        self._secure: Callable[[TlsDemand], Deferred[None]] = _no_tls
        self._securing: Deferred[None] | None = None
        self._alone = False  # with the server: there will be no console
        self._server_failed = False
        self.agreed: Deferred[None] = Deferred()
        self._refusal_sent: Deferred[None] = Deferred()
        browser.received = self._from_browser
        self._flush()

    def meet(
        self,
        server_leg: Leg,
        credentials: Credentials | None,
        secure: Callable[[TlsDemand], Deferred[None]],
    ) -> Deferred[None]:
        """Begin the server's handshake; the Deferred fires when both sides are through.

        Args:
            server_leg: the server's leg; what it receives comes here until ``agreed`` fires.
            credentials: what to say when the server asks who we are, or None.
            secure: starts TLS on the leg; its Deferred fires when TLS may be trusted.
        """
        self._server_leg = server_leg
        self._secure = secure
        self._server = ServerHandshake(self._auth_schemes, credentials)
        server_leg.received = self._from_server
        self._flush()
        return self.agreed

    @property
    def client_served(self) -> bool:
        """Whether the client's handshake is done, so that nothing can be refused in RFB."""
        return self._client.result is not None

    @property
    def agreement(self) -> str:
        """What was agreed with both sides, in words for the log."""
        if self._server is None or self._server.result is None or self._client.result is None:
            return "nothing"
        server, client = self._server.result, self._client.result
        return (
            f"RFB {_dotted(server.version)} with security {server.method.name} with the "
            f"server, RFB {_dotted(client)} with the client"
        )

    def rest(self) -> tuple[bytes, bytes]:
        """Return the bytes behind the handshakes: (for the browser, for the server)."""
        assert self._server is not None, "meet() comes first"  # noqa: S101
        return self._server.rest(), self._client.rest()

    def refuse(self, reason: str) -> Deferred[None]:
        """Say in RFB why there will be no console.

        The Deferred fires when that is on its way, or the browser has gone. The server is heard no
        further meanwhile, however much it says.
        """
        if self._server_leg is not None:
            self._server_leg.pause()
        self._step(lambda: self._client.refuse(reason))
        return self._refusal_sent

    def conclude(self) -> bool:
        """Go on until the server has let us in (see ``Opening.conclude``).

        Servers count connections that end before that as guesses at their password, and soon let
        nobody in who comes from the same address: so a gateway that breaks off for each user that
        does not wait locks out all of them.
        """
        self._alone = True
        if self._server_leg is not None and not self._server_failed:
            self._server_leg.resume()
        self._go_on_alone()
        return not self.agreed.called

    def _go_on_alone(self) -> None:
        through = self._server is not None and self._server.result is not None
        if (through or self._server_failed) and not self.agreed.called:
            self.agreed.callback(None)

    def leg_lost(self, leg: Leg, detail: str) -> HandshakeError | None:
        """Return the error that a leg's loss means in the handshake; None if it has its own."""
        if leg is self._browser:
            self._stop_refusing()
        if leg is not self._server_leg or self._server is None or self._server.result is not None:
            return None
        self._server_failed = True
        if self._alone:
            self._go_on_alone()
        return self._server.lost(detail)

    @property
    def unfinished(self) -> str:
        """Who keeps the handshake waiting, in words for the log."""
        served = self._server is not None and self._server.result is not None
        who = "the client" if served else "the console's server"
        return f"{who} did not finish the RFB handshake"

    def _from_browser(self, data: bytes) -> None:
        self._step(lambda: self._client.receive(data))

    def _from_server(self, data: bytes) -> None:
        assert self._server is not None  # noqa: S101  set by meet()
        server = self._server
        self._step(lambda: server.receive(data))

    def _step(self, step: Callable[[], None]) -> None:
        """Let one of the dialogues go on, and do what follows from it."""
        try:
            step()
            if not self._alone and self._server is not None and self._server.result is not None:
                self._client.accept()
        except HandshakeError as error:
            self._flush()
            if isinstance(error, ClientNotRfb):
                self._stop_refusing()  # there are no words left for such a client
                self._failed(error)
            else:
                self._fail(error)
            return
        self._flush()
        if self._server is not None and self._server.wants_tls is not None:
            self._begin_tls(self._server, self._server.wants_tls)
        if self._alone:
            self._go_on_alone()
        elif self._client.refused:
            self._stop_refusing()
        elif self._client.result is not None and not self.agreed.called:
            self.agreed.callback(None)

    def _begin_tls(self, server: ServerHandshake, demand: TlsDemand) -> None:
        if self._securing is None:
            self._securing = Deferred.fromCoroutine(self._start_tls(server, demand))

    async def _start_tls(self, server: ServerHandshake, demand: TlsDemand) -> None:
        try:
            await self._secure(demand)
        except HandshakeError as error:
            self._fail(error)
        except Exception:
            self._log.failure("TLS with the console's server could not be started")
            self._fail(GatewayError("see the traceback above"))
        else:
            self._step(server.tls_started)

    def _fail(self, error: GatewayError) -> None:
        """Tell of a fault after which nothing more can be said to the server."""
        self._server_failed = True
        self._failed(error)
        if self._alone:
            self._go_on_alone()

    def _stop_refusing(self) -> None:
        if not self._refusal_sent.called:
            self._refusal_sent.callback(None)

    def _flush(self) -> None:
        to_browser = self._client.data_to_send()
        if to_browser:
            self._browser.write(to_browser)
        if self._server is not None and self._server_leg is not None:
            to_server = self._server.data_to_send()
            if to_server:
                self._server_leg.write(to_server)


def _no_tls(_demand: TlsDemand) -> Deferred[None]:
    raise AssertionError("meet() comes first")


def _dotted(version: Version) -> str:
    return "{}.{}".format(*version.value)
