"""A short conversation with QEMU's monitor: some questions, and their answers. Pure.

Source: https://www.qemu.org/docs/master/interop/qmp-spec.html, section 2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

_MOST_HELD_BYTES = 1024 * 1024
_ENTER = "qmp_capabilities"


class QmpFault(Exception):
    """What listens on the socket does not speak QMP, or refuses to."""


class QmpTalk:
    """The greeting, our commands, and QEMU's answers; events in between are passed over.

    Attributes:
        result: each command's answer, None for one that QEMU does not know; None while answers
            are missing.

    Args:
        commands: without arguments, such as ``query-name``.
    """

    def __init__(self, commands: Sequence[str]) -> None:
        self.result: dict[str, object] | None = None
        self._commands = tuple(commands)
        self._answers: dict[str, object] = {}
        self._greeted = False
        self._held = b""
        self._to_send = b""

    def receive(self, data: bytes) -> None:
        """Take bytes of QEMU's.

        Raises:
            QmpFault: they are no QMP, or too much of it.
        """
        *lines, self._held = (self._held + data).split(b"\n")
        if len(self._held) > _MOST_HELD_BYTES:
            raise QmpFault(f"it sent a line of over {_MOST_HELD_BYTES} bytes")
        for line in lines:
            if line.strip() and self.result is None:
                self._take(_message(line))

    def data_to_send(self) -> bytes:
        """Return, and forget, the bytes that QEMU is to get."""
        data, self._to_send = self._to_send, b""
        return data

    def _take(self, message: dict[str, object]) -> None:
        if not self._greeted:
            if "QMP" not in message:
                raise QmpFault("it does not greet as QMP does")
            self._greeted = True
            for command in (_ENTER, *self._commands):
                self._to_send += json.dumps({"execute": command, "id": command}).encode() + b"\n"
            return
        answered = message.get("id")
        if answered == _ENTER and "return" not in message:
            raise QmpFault("it refuses qmp_capabilities")
        if isinstance(answered, str) and answered in self._commands:
            self._answers[answered] = message.get("return")
        if len(self._answers) == len(set(self._commands)):
            self.result = self._answers


def _message(line: bytes) -> dict[str, object]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise QmpFault("it sent a line that is no JSON") from None
    if not isinstance(message, dict):
        raise QmpFault("it sent a line that is no JSON object")
    return message
