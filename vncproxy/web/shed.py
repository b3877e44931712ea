"""Halving what an idle session's WebSocket weighs."""

from __future__ import annotations

from typing import Any

_HANDSHAKE_ONLY = frozenset(
    {
        *("http_headers", "http_request_data", "http_request_host", "http_request_params"),
        *("http_request_path", "http_request_uri", "http_response_data", "http_status_line"),
        *("websocket_extensions", "websocket_protocols", "_transport_details", "_wskey"),
    }
)


class _Queue(list[Any]):
    """In the place of a deque, which weighs 700 bytes when it is empty, as this one always is.

    Autobahn puts something into it only when it is asked to write in small pieces.
    """

    def popleft(self) -> Any:  # noqa: ANN401
        """Return, and remove, the first item."""
        return self.pop(0)


def shed(protocol: object) -> None:
    """Let go of the handshake, and share with the other sessions what is alike in all.

    Autobahn's protocol has some ninety attributes. Those that are the same in every session
    become the class's, which halves what an idle session weighs.

    Args:
        protocol: an Autobahn protocol whose handshake is done.
    """
    shared, own = type(protocol), {}
    for name, value in vars(protocol).items():
        if name in _HANDSHAKE_ONLY:
            continue
        if value is None or isinstance(value, int):
            if not hasattr(shared, name):
                setattr(shared, name, value)
            if getattr(shared, name) == value:
                continue
        own[name] = value
    own["send_queue"] = _Queue()
    protocol.__dict__ = own
