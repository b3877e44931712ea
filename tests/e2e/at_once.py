"""Many clients that open consoles at the same moment."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.programs import Gateway, becomes_true

_PATIENCE_S = 60
OPEN = "open"
IN_WORDS = "words"
Client = tuple[str, str]  # its address, and the URL of its WebSocket


async def _outcome(client: Client, until: asyncio.Event) -> str:
    """Open a console and keep it until the event; say how that went."""
    address, url = client
    opening = connect(
        url, proxy=None, compression=None, open_timeout=_PATIENCE_S, local_addr=(address, 0)
    )
    try:
        async with opening as socket:
            async with asyncio.timeout(_PATIENCE_S):
                await socket.recv()
                await socket.send(b"RFB 003.008\n")
                if (await socket.recv()) != b"\x01\x01":
                    return IN_WORDS
            await until.wait()
            return OPEN
    except InvalidStatus as refused:
        return str(refused.response.status_code)
    except ConnectionClosed:
        return IN_WORDS


class AtOnce:
    """Many clients that open consoles at the same moment, in a thread of their own.

    Args:
        clients: who they are.
    """

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients
        self.outcomes: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._until = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._run()])
        self._thread.start()

    async def _run(self) -> None:
        await asyncio.gather(*(self._one(client) for client in self._clients))

    async def _one(self, client: Client) -> None:
        self.outcomes[await _outcome(client, self._until)] += 1

    def settle(self, gateway: Gateway, still_open: int) -> None:
        """Wait until all but so many have an outcome; then let those go that are open."""
        rest = len(self._clients) - still_open
        arrived = becomes_true(lambda: sum(self.outcomes.values()) >= rest)
        self._loop.call_soon_threadsafe(self._until.set)
        self._thread.join(_PATIENCE_S)
        assert arrived, (self.outcomes, gateway.log[-3000:])
