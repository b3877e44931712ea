"""What a VNC server may ask of us before it lets us in: each security type as a dialogue.

Pure. VNC authentication is RFC 6143 §7.2.2; VeNCrypt's document is part of the community's RFB
specification, but for the server's byte behind the chosen sub-type, where 1 is yes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from vncproxy.errors import NotRfb, PasswordRefused, SecurityFailed
from vncproxy.model import Credentials
from vncproxy.rfb.messages import VENCRYPT_VERSION, Security, Subtype, subtype_names
from vncproxy.rfb.reader import ByteReader, Steps, TlsDemand

_CHALLENGE_BYTES = 16
_LONGEST_PASSWORD = 8  # bytes; the rest of a VNC password has never counted


@dataclass(frozen=True, slots=True)
class Method:
    """One way of being let in, by the name that ``[vnc] auth_schemes`` has for it."""

    name: str
    security: Security
    subtype: Subtype | None = None
    needs_password: bool = False
    needs_username: bool = False

    def usable_with(self, credentials: Credentials | None) -> bool:
        """Whether we have what this method asks for."""
        if not self.needs_password:
            return True
        if credentials is None:
            return False
        return credentials.username is not None or not self.needs_username

    @property
    def tls(self) -> TlsDemand:
        """The TLS that this VeNCrypt method runs in."""
        anonymous = self.subtype in (Subtype.TLS_NONE, Subtype.TLS_VNC, Subtype.TLS_PLAIN)
        return TlsDemand.ANONYMOUS if anonymous else TlsDemand.X509


NONE = Method("none", Security.NONE)
VNC = Method("vnc", Security.VNC, needs_password=True)
_VENCRYPT = Security.VENCRYPT
X509_NONE = Method("x509none", _VENCRYPT, Subtype.X509_NONE)
X509_VNC = Method("x509vnc", _VENCRYPT, Subtype.X509_VNC, True)
X509_PLAIN = Method("x509plain", _VENCRYPT, Subtype.X509_PLAIN, True, True)
TLS_NONE = Method("tlsnone", _VENCRYPT, Subtype.TLS_NONE)
TLS_VNC = Method("tlsvnc", _VENCRYPT, Subtype.TLS_VNC, True)
TLS_PLAIN = Method("tlsplain", _VENCRYPT, Subtype.TLS_PLAIN, True, True)

# Anonymous TLS can be intercepted, so nova's `vencrypt` does not mean it: it must be named itself.
SCHEMES: dict[str, tuple[Method, ...]] = {
    "vencrypt": (X509_NONE, X509_VNC, X509_PLAIN),
    **{
        method.name: (method,)
        for method in (NONE, VNC, X509_NONE, X509_VNC, X509_PLAIN, TLS_NONE, TLS_VNC, TLS_PLAIN)
    },
}


def methods_of(schemes: Iterable[str]) -> list[Method]:
    """Return the methods that these schemes' names stand for, the most wanted first."""
    return list(dict.fromkeys(method for name in schemes for method in SCHEMES[name]))


@dataclass(frozen=True, slots=True)
class Applicant:
    """Us, before a VNC server: what we read from and write to, and who we can say we are."""

    reader: ByteReader
    send: Callable[[bytes], None]
    credentials: Credentials | None

    def authenticate(self, method: Method) -> Steps[None]:
        """Do what the method asks, up to where the server's result is awaited."""
        if method.subtype is not None:
            yield method.tls
        if method.needs_username:
            self._say_plainly()
        elif method.needs_password:
            yield from self._answer_challenge()

    def choose_subtype(
        self, wanted: Sequence[Method], lacking: Sequence[Method] = ()
    ) -> Steps[Method]:
        """Agree on VeNCrypt's version and on one of its sub-types.

        Args:
            wanted: the most wanted first.
            lacking: those for which we have no password or no user's name.

        Raises:
            PasswordRefused: it offers only what we have no password for.
            NotRfb: another version.
            SecurityFailed: no sub-type in common, or the server changed its mind.
        """
        version = yield from self.reader.exactly(2)
        if version != VENCRYPT_VERSION:
            raise NotRfb(f"the server speaks VeNCrypt {version[0]}.{version[1]}, and we 0.2")
        self.send(VENCRYPT_VERSION)
        (refused,) = yield from self.reader.exactly(1)
        if refused:
            raise SecurityFailed("the server does not accept VeNCrypt 0.2")
        (count,) = yield from self.reader.exactly(1)
        offered = struct.unpack(f"!{count}I", (yield from self.reader.exactly(4 * count)))
        method = next((m for m in wanted if m.subtype in offered), None)
        if method is None or method.subtype is None:
            allowed = subtype_names(m.subtype for m in wanted if m.subtype)
            would_do = any(m.subtype in offered for m in lacking)
            raise (PasswordRefused if would_do else SecurityFailed)(
                f"the server offers the VeNCrypt sub-types {subtype_names(offered)}; "
                f"[vnc] auth_schemes and our credentials allow {allowed}"
            )
        self.send(struct.pack("!I", method.subtype))
        (accepted,) = yield from self.reader.exactly(1)
        if not accepted:
            raise SecurityFailed(f"the server offered {method.name}, and then refused it")
        return method

    def _answer_challenge(self) -> Steps[None]:
        challenge = yield from self.reader.exactly(_CHALLENGE_BYTES)
        self.send(challenge_response(challenge, self._known().password))

    def _say_plainly(self) -> None:
        known = self._known()
        username, password = (known.username or "").encode(), known.password.encode()
        self.send(struct.pack("!II", len(username), len(password)) + username + password)

    def _known(self) -> Credentials:
        assert self.credentials is not None, "usable_with() comes first"  # noqa: S101
        return self.credentials


def challenge_response(challenge: bytes, password: str) -> bytes:
    """Return the challenge encrypted by DES, as VNC authentication wants it.

    The key is the password's first 8 bytes, each with its bits in reverse order.
    """
    key = password.encode()[:_LONGEST_PASSWORD].ljust(_LONGEST_PASSWORD, b"\0")
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in key)
    des = Cipher(TripleDES(mirrored * 3), modes.ECB())  # noqa: S305  three equal keys are one DES
    return des.encryptor().update(challenge)
