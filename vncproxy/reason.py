"""The one line that tells an operator of an exception, whatever library raised it."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, quote_plus, urlsplit

from vncproxy.redaction import HIDDEN, without_secrets

_LONGEST = 500


def reason_of(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """Return the exception's kind and its words, on one line.

    Args:
        error: that was raised.
        secrets: what must not be read in it, as it is or as URLs spell it; ``redaction`` knows
            more of them by their shapes.
    """
    return f"{type(error).__name__}: {words_of(error, secrets)}".removesuffix(": ")


def words_of(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """Return the exception's words alone; arguments as of ``reason_of``."""
    words = " ".join(str(error).split())
    for secret in sorted({form for text in secrets for form in _spelled(text)}, key=len)[::-1]:
        words = words.replace(secret, HIDDEN)
    return without_secrets(words)[:_LONGEST]


def passwords_in(url: str) -> list[str]:
    """Return the passwords of a URL, also of one that lists several hosts; none of what is none."""
    try:
        hosts = urlsplit(url).netloc.split(",")
    except ValueError:
        return []
    logins = [host.rpartition("@")[0] for host in hosts]
    return [password for _, _, password in (login.partition(":") for login in logins) if password]


def _spelled(secret: str) -> tuple[str, ...]:
    return (secret, quote(secret, ""), quote_plus(secret)) if secret else ()
