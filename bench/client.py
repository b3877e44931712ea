"""The measuring client (client.c) as an object: one method call, one line, one answer."""

from __future__ import annotations

import json
import select
import subprocess
from pathlib import Path
from typing import Any

from bench.processes import CannotMeasure

Answer = dict[str, Any]
_LONGEST_S = 600.0


class Client:
    """A running client.

    Args:
        program: the compiled client.
        port: where the sessions lead.
        wire: ``raw``, ``ws`` or ``wss``.
        paths: file of the WebSockets' paths, or None for ``/``.
    """

    def __init__(self, program: Path, port: int, wire: str, paths: Path | None) -> None:
        self._process = subprocess.Popen(
            [str(program), str(port), wire, *([str(paths)] if paths else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *words: object) -> Answer:
        """Have one command carried out; return its answer.

        Raises:
            CannotMeasure: the client gave up, or a session failed.
        """
        line = " ".join(map(str, words))
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], _LONGEST_S)
        text = self._process.stdout.readline() if ready else ""
        if not text:
            raise CannotMeasure(f"the client did not answer to {line!r}")
        answer: Answer = json.loads(text)
        if answer["failed"] or not answer.get("finished", 1):
            why = answer["fault"] or "it came to a halt"
            raise CannotMeasure(f"{line!r}: {answer['failed']} sessions failed: {why}")
        return answer

    def stop(self) -> None:
        """End it, and its sessions."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
