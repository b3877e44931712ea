"""Credentials at rest, sealed with the token they belong to.

The database has only the token's hash, so whoever reads the database can't open them: the token
itself comes with the user.
"""

from __future__ import annotations

import base64
import json

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vncproxy.model import Credentials, Token


def seal(credentials: Credentials, token: Token) -> str:
    """Return the credentials as text that only the token opens."""
    plain = json.dumps([credentials.password, credentials.username])
    return _box(token).encrypt(plain.encode()).decode()


def unseal(sealed: str, token: Token) -> Credentials | None:
    """Return the credentials that were sealed; None if it was not with this token."""
    try:
        password, username = json.loads(_box(token).decrypt(sealed.encode()))
    except InvalidToken:
        return None
    return Credentials(password, username)


def _box(token: Token) -> Fernet:
    derive = HKDF(SHA256(), length=32, salt=None, info=b"vncproxy token credentials")
    key = derive.derive(token.text.encode("utf-8", "surrogatepass"))
    return Fernet(base64.urlsafe_b64encode(key))
