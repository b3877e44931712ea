"""The HTTP CONNECT that some hypervisors want before the console's own protocol.

A token's row says so in ``internal_access_path``. Pure: bytes and values only.
"""

from __future__ import annotations

import re

from typing_extensions import override

from vncproxy.errors import ConnectRefused, HandshakeError
from vncproxy.rfb.dialogue import Dialogue
from vncproxy.rfb.reader import Steps

_LONGEST_ANSWER_BYTES = 4096
_END = b"\r\n\r\n"
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r\n")


class ConnectRequest(Dialogue[int]):
    """Our request, and the hypervisor's answer: its status.

    Bytes behind the answer, such as an RFB greeting in the same segment, are kept.

    Args:
        path: of the console at the hypervisor.
    """

    def __init__(self, path: str) -> None:
        if not path.isprintable() or " " in path:
            raise self._fault("the token's internal_access_path is no path")
        self._path = path
        super().__init__()

    @override
    def _converse(self) -> Steps[int]:
        self._send(f"CONNECT {self._path} HTTP/1.1\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(_END):
            answer += yield from self._reader.exactly(1)
            if len(answer) > _LONGEST_ANSWER_BYTES:
                raise self._fault(f"the answer is longer than {_LONGEST_ANSWER_BYTES} bytes")
        status = _STATUS_LINE.match(answer)
        if status is None or status[1] != b"200":
            raise self._fault(f"the answer is {answer.splitlines()[0][:100]!r}")
        return int(status[1])

    @override
    def _fault(self, text: str) -> HandshakeError:
        return ConnectRefused(f"CONNECT to internal_access_path failed: {text}")
