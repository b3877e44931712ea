"""Asking many at once."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults

T = TypeVar("T")


async def together(questions: Iterable[Coroutine[Deferred[Any], Any, T]]) -> list[T]:
    """Return every coroutine's result, in their order; they run at once, and are cancelled at once.

    The first exception of any of them is raised.
    """
    asked = [Deferred.fromCoroutine(question) for question in questions]
    try:
        return await gatherResults(asked, consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
