"""Changes of keys that a TLS client asks for: bounded, since each costs it next to nothing.

TLS 1.3 lets either side change its keys at any time (RFC 8446 §4.6.3), in a record of 27 bytes, and
have the other do so too, in an answer. To OpenSSL that is no data, so none of the bounds to what a
client sends, or does not read, would ever see it. An honest client changes its keys after
some hundred gigabytes.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

MOST_KEY_UPDATES = 32


def count_key_updates(connection: SSL.Connection, where: int, _value: int) -> None:
    """Count a change of keys by the client, and break the connection off when there are too many.

    OpenSSL calls this at each step of a connection, once it is a context's info callback.
    """
    if where != SSL.SSL_CB_ACCEPT_LOOP or b"client key update" not in connection.get_state_string():
        return
    tls: Any = connection.get_app_data()  # Twisted's protocol, which it has put there
    tls.key_updates = getattr(tls, "key_updates", 0) + 1
    if tls.key_updates == MOST_KEY_UPDATES + 1:
        tls.factory._clock.callLater(0, _break_off, tls)  # not here, within OpenSSL


def _break_off(tls: Any) -> None:  # noqa: ANN401  Twisted's protocol
    transport = tls.wrappedProtocol.transport
    if tls.connected and transport is not None:
        transport.abortConnection()  # a console's own, which may be the splice's by now
