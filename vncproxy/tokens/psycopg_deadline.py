"""psycopg's connection, with a deadline on each of its waits.

The server's own ``statement_timeout`` ends what takes too long there. It can't end the wait for a
server that has frozen, or for a pooler that has no server to give; and whatever waits keeps one of
the gateway's threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from psycopg import Connection, OperationalError
from typing_extensions import override

_SPARE_S = 1.0  # for the server's own word on a statement that takes too long


def connect_with_deadline(timeout_s: float) -> Callable[..., Connection[Any]]:
    """Return what makes such connections, for SQLAlchemy's event ``do_connect``.

    Args:
        timeout_s: seconds, > 0, that a statement may take.
    """

    class Impatient(_Impatient):
        longest_wait_s = timeout_s + _SPARE_S

    def connect(
        _dialect: object, _record: object, positional: list[Any], named: dict[str, Any]
    ) -> Connection[Any]:
        return Impatient.connect(*positional, **named)

    return connect


class _Impatient(Connection[Any]):
    longest_wait_s: float

    @override
    def wait(self, gen: Generator[Any, Any, Any], *rest: Any, **more: Any) -> Any:
        # psycopg resumes what waits every tenth of a second, too.
        return super().wait(self._until(time.monotonic() + self.longest_wait_s, gen), *rest, **more)

    def _until(self, deadline: float, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    self.close()  # an answer that comes yet is nobody's
                    raise OperationalError(f"no answer in {self.longest_wait_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value
