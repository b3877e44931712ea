"""`make fuzz`: a million random and mutated conversations through both handshakes.

Each must end in the handshakes' own errors, or wait for more; buffers must stay small, and the
whole must not hang. A failure prints its input, and the seed that brings it back.
"""

from __future__ import annotations

import random
import sys
import time

from tests.rfb.servers import CREDENTIALS, SCHEMES, script
from vncproxy.errors import HandshakeError
from vncproxy.rfb.dialogue import Dialogue
from vncproxy.rfb.handshake import ClientHandshake, ServerHandshake
from vncproxy.rfb.messages import Version
from vncproxy.rfb.reader import TlsDemand

_CLIENTS = (b"RFB 003.008\n\x01\x01", b"RFB 003.007\n\x01", b"RFB 003.003\n\x01")
_LONGEST_ANSWER = 400


def servers_wires() -> list[bytes]:
    """Return everything that a well-behaved server of each kind sends."""
    found = []
    for version in Version:
        for scheme in SCHEMES:
            one = script(version, scheme)
            turns = one.turns if one else ()
            found.append(b"".join(t[0] for t in turns if not isinstance(t, TlsDemand)))
    return found


def mutated(wire: bytes, chance: random.Random) -> bytes:
    """Return the bytes with a few of them changed, left out, doubled, or with others behind."""
    data = bytearray(wire)
    for _ in range(chance.randrange(4)):
        if not data:
            break
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                del data[at : at + chance.randrange(1, 5)]
            case 2:
                data[at:at] = data[at : at + chance.randrange(1, 9)]
            case _:
                data[at:at] = chance.randbytes(chance.randrange(1, 5))
    return bytes(data) + chance.randbytes(chance.randrange(3))


def feed(dialogue: Dialogue[object], wire: bytes, chance: random.Random) -> None:
    """Feed the bytes in random pieces, with TLS wherever it is asked for."""
    at = 0
    try:
        while at < len(wire):
            end = at + chance.randrange(1, 1 + len(wire))
            if dialogue.wants_tls is not None:
                dialogue.tls_started()
            dialogue.receive(wire[at:end])
            at = end
    except HandshakeError as error:
        assert str(error).isprintable(), error
        assert CREDENTIALS.password not in str(error)
    assert len(dialogue.data_to_send()) <= _LONGEST_ANSWER
    assert len(dialogue.rest()) <= len(wire)


def run(count: int, seed: int) -> None:
    """Try this many inputs."""
    chance = random.Random(seed)
    wires = servers_wires()
    for number in range(count):
        kind = chance.randrange(3)
        base = chance.randbytes(chance.randrange(60)) if kind == 2 else b""
        dialogue: Dialogue[object]
        if kind == 0:
            wire = mutated(chance.choice(_CLIENTS), chance)
            client = ClientHandshake()
            chance.choice((client.accept, lambda: client.refuse("no"), lambda: None))()  # noqa: B023
            dialogue = client  # type: ignore[assignment]
        else:
            wire = mutated(base or chance.choice(wires), chance)
            schemes = chance.sample(SCHEMES, chance.randrange(1, len(SCHEMES)))
            dialogue = ServerHandshake(schemes, chance.choice((CREDENTIALS, None)))  # type: ignore[assignment]
        try:
            feed(dialogue, wire, chance)
        except Exception:
            print(f"input {number} of seed {seed}: {wire!r}", file=sys.stderr)
            raise


def main() -> None:
    """Run with the count and the seed of the command line."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns()
    started = time.monotonic()
    run(count, seed)
    seconds = time.monotonic() - started
    print(f"{count} inputs in {seconds:.0f} s, seed {seed}: no fault, no hang, no full buffer")


if __name__ == "__main__":
    main()
