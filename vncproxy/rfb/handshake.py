"""The two handshakes of a session: with the VNC server as its client, with the browser as a server.

Pure, by the rules of ``rfb.dialogue``. RFC 6143 §7.1 is their script.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import override

from vncproxy.errors import (
    ClientNotRfb,
    HandshakeError,
    LockedOut,
    NotRfb,
    PasswordRefused,
    SecurityFailed,
    ServerGone,
)
from vncproxy.model import Credentials
from vncproxy.rfb.dialogue import Dialogue
from vncproxy.rfb.messages import (
    RESULT_FAILED,
    RESULT_OK,
    RESULT_TOO_MANY,
    VERSION_BYTES,
    Security,
    Version,
    read_reason,
    read_u32,
    reason_message,
    security_name,
    security_names,
    version_of,
)
from vncproxy.rfb.reader import Steps
from vncproxy.rfb.security import Applicant, Method, methods_of

_LONGEST_REASON_BYTES = 1024
# Servers' own words, of which no document has a list. Xtigervnc and RealVNC lock an address out for
# "Too many security failures", others for "Too many authentication failures" or "attempts".
_LOCKED_OUT = re.compile(r"too many .*(?:failures|attempts)", re.IGNORECASE)
# Those of a wrong password all have one of these; "The server is already in use" has not.
_WRONG_PASSWORD = re.compile(r"auth|passw|login|credential|^''$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a handshake with a server ended in."""

    version: Version
    method: Method


class ServerHandshake(Dialogue[Agreement]):
    """Our handshake with a VNC server, whose client we are.

    Args:
        schemes: names of the security that we accept, the most wanted first.
        credentials: what we can say when we are asked, or None.
    """

    def __init__(self, schemes: Sequence[str], credentials: Credentials | None = None) -> None:
        allowed = methods_of(schemes)
        self._wanted = [method for method in allowed if method.usable_with(credentials)]
        self._lacking = [method for method in allowed if method not in self._wanted]
        self._credentials = credentials
        self._awaits = ""
        super().__init__()

    def lost(self, detail: str = "") -> HandshakeError:
        """Return the error for a server whose connection ends now, with what is known of why."""
        because = f": {detail}" if detail else ""
        return ServerGone(f"the connection closed before the server sent {self._awaits}{because}")

    @override
    def _converse(self) -> Steps[Agreement]:
        version = yield from self._agree_on_version()
        if version is Version.V3_3:
            security = yield from self._accept_dictated_security()
        else:
            security = yield from self._choose_security()
        method = yield from self._authenticate(security)
        # Before 3.8 a SecurityResult follows only where there was something to check (§7.1.3).
        if version is Version.V3_8 or security is not Security.NONE:
            yield from self._read_result(version, method)
        return Agreement(version, method)

    def _agree_on_version(self) -> Steps[Version]:
        self._awaits = "its protocol version"
        message = yield from self._reader.exactly(VERSION_BYTES)
        version = version_of(message)
        if version is None:
            raise self._fault(f"its protocol version is {message!r}")
        self._send(version.message)
        return version

    def _accept_dictated_security(self) -> Steps[Security]:
        self._awaits = "its security type"
        dictated = yield from read_u32(self._reader)
        if dictated == Security.INVALID:
            raise (yield from self._refused())
        if dictated not in [int(method.security) for method in self._wanted]:
            raise self._no_common_security([dictated])
        return Security(dictated)

    def _choose_security(self) -> Steps[Security]:
        self._awaits = "its security types"
        (count,) = yield from self._reader.exactly(1)
        if count == 0:
            raise (yield from self._refused())
        offered = yield from self._reader.exactly(count)
        for method in self._wanted:
            if method.security in offered:
                self._send(bytes([method.security]))
                return method.security
        raise self._no_common_security(offered)

    def _authenticate(self, security: Security) -> Steps[Method]:
        self._awaits = "its part of the authentication"
        us = Applicant(self._reader, self._send, self._credentials)
        candidates = [method for method in self._wanted if method.security is security]
        if security is Security.VENCRYPT:
            method = yield from us.choose_subtype(candidates, self._lacking)
        else:
            (method,) = candidates
        yield from us.authenticate(method)
        return method

    def _read_result(self, version: Version, method: Method) -> Steps[None]:
        self._awaits = "its security result"
        result = yield from read_u32(self._reader)
        if result == 0:
            return
        if version is Version.V3_8:
            raise (yield from self._refused(method))
        what = "our credentials" if method.needs_password else "us"
        text = f"the server refused {what} with the result {result}"
        if result == RESULT_TOO_MANY:
            raise LockedOut(text)
        raise PasswordRefused(text) if method.needs_password else SecurityFailed(text)

    def _refused(self, method: Method | None = None) -> Steps[HandshakeError]:
        """Return the error for a refusal, whose reason comes now.

        Args:
            method: by which we have tried to be let in; None before that.
        """
        self._awaits = "the reason of its refusal"
        reason = yield from read_reason(self._reader, _LONGEST_REASON_BYTES)
        text = f"the server refused us: {reason}"
        if _LOCKED_OUT.search(reason):
            return LockedOut(text)
        if method is not None and method.needs_password and _WRONG_PASSWORD.search(reason):
            return PasswordRefused(text)
        return SecurityFailed(text)

    def _no_common_security(self, offered: Sequence[int]) -> HandshakeError:
        allowed = ", ".join(method.name for method in self._wanted) or "nothing"
        names = security_names(offered)
        text = f"the server offers the security types {names}; [vnc] auth_schemes allows {allowed}"
        if not self._lacking:
            return SecurityFailed(text)
        lacking = ", ".join(method.name for method in self._lacking)
        text += f", and for {lacking} we have no password or user name for this server"
        would_do = any(method.security in offered for method in self._lacking)
        return PasswordRefused(text) if would_do else SecurityFailed(text)

    @override
    def _fault(self, text: str) -> HandshakeError:
        return NotRfb(f"the server does not speak RFB: {text}")


class ClientHandshake(Dialogue[Version]):
    """Our handshake with the browser, whose server we are.

    It greets at once, and after the versions waits for ``accept`` or ``refuse``. The token has
    proved who the client is, so the only security type it is offered is None.

    Attributes:
        refused: whether a refusal is on its way; the dialogue is over then, without a result.
    """

    def __init__(self) -> None:
        self.refused = False
        self._accepted = False
        self._refusal: str | None = None
        super().__init__()

    def accept(self) -> None:
        """Let the client in: the console is ready."""
        self._accepted = True
        self._advance()

    def refuse(self, reason: str) -> None:
        """Say why there will be no console, as soon as the client's version has come.

        After ``accept`` it is the SecurityResult that says so, which only 3.8 has. Once the
        handshake is done nothing is left to refuse.
        """
        self._refusal = reason
        self._advance()

    @override
    def _converse(self) -> Steps[Version]:
        self._send(Version.V3_8.message)
        version = yield from self._read_version()
        while not self._accepted and self._refusal is None:
            yield None
        if self._refusal is not None:
            yield from self._refuse_security(version, self._refusal)
        if version is Version.V3_3:
            self._send(Security.NONE.to_bytes(4, "big"))
            return version
        yield from self._offer_none(version)
        if self._refusal is not None:
            yield from self._refuse_result(version, self._refusal)
        if version is Version.V3_8:
            self._send(RESULT_OK)
        return version

    def _read_version(self) -> Steps[Version]:
        message = yield from self._reader.exactly(VERSION_BYTES)
        version = version_of(message)
        if version is None:
            raise self._fault(f"its protocol version is {message!r}")
        return version

    def _offer_none(self, version: Version) -> Steps[None]:
        self._send(bytes([1, Security.NONE]))
        (chosen,) = yield from self._reader.exactly(1)
        if chosen != Security.NONE:
            if version is Version.V3_8:
                text = "Only the security type 1 (NONE) is supported"
                self._send(RESULT_FAILED + reason_message(text))
            raise self._fault(f"it chose {security_name(chosen)}, which was not offered")

    def _refuse_security(self, version: Version, reason: str) -> Steps[None]:
        """Offer no security type at all, and say why; then listen no more."""
        none_offered = bytes(4) if version is Version.V3_3 else bytes(1)
        self._send(none_offered + reason_message(reason))
        yield from self._stay_refused()

    def _refuse_result(self, version: Version, reason: str) -> Steps[None]:
        with_reason = version is Version.V3_8
        self._send(RESULT_FAILED + (reason_message(reason) if with_reason else b""))
        yield from self._stay_refused()

    def _stay_refused(self) -> Steps[None]:
        self.refused = True
        while True:
            self._reader.rest()
            yield None

    @override
    def _fault(self, text: str) -> HandshakeError:
        return ClientNotRfb(f"the client does not speak RFB: {text}")
