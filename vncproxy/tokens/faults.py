"""Whatever a database, its driver or SQLAlchemy raises, as one error of ours without a secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Engine
from sqlalchemy.exc import SQLAlchemyError

from vncproxy.errors import GatewayError
from vncproxy.reason import reason_of, words_of

_SECRET_OPTIONS = ("pass", "secret", "token")


@contextmanager
def told_as(
    unavailable: Callable[[str], GatewayError], what: str, engine: Engine
) -> Iterator[None]:
    """Turn what the block raises into an error of ours; errors of ours pass.

    A driver raises more than SQLAlchemy knows: a missing library of its own, a text that it can't
    encode, an answer that it does not understand.

    Args:
        unavailable: makes the error, of a text for the operator.
        what: failed, such as "the token database".
        engine: that the block asks; what is secret in its URL is in no error's text.
    """
    try:
        yield
    except GatewayError:
        raise
    except Exception as error:
        raise unavailable(f"{what} failed: {database_reason(error, engine.url)}") from error


def database_reason(error: Exception, url: URL) -> str:
    """Return what is to be told of an exception, without what is secret in the URL."""
    secrets = secrets_in(url)
    if not isinstance(error, SQLAlchemyError):
        return reason_of(error, secrets)
    return words_of(getattr(error, "orig", None) or error, secrets)  # SQLAlchemy adds the statement


def secrets_in(url: URL) -> list[str]:
    """Return what nobody may read of the URL: its password, and others in its query."""
    found = [str(url.password)] if url.password else []
    for name, value in url.query.items():
        if _is_secret(name):
            found += [value] if isinstance(value, str) else value
    return found


def shown(url: URL) -> str:
    """Return the URL for the operator to read."""
    hidden = {name: "hidden" if _is_secret(name) else value for name, value in url.query.items()}
    return url.set(query=hidden).render_as_string(hide_password=True)


def _is_secret(option: str) -> bool:
    return any(word in option.lower() for word in _SECRET_OPTIONS)
