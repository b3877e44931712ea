"""The kinds of console: as nova has a proxy command for each, the gateway has a front for each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """What tells one kind of console from another.

    Attributes:
        console_type: of its tokens; also its name in ``[vncproxy] consoles``.
        speaks_rfb: whether RFB is negotiated with both sides first; else every byte passes as
            it is, from the first on.
        takes_text: whether a client may send text frames; their UTF-8 goes to the machine.
    """

    console_type: str
    speaks_rfb: bool = False
    takes_text: bool = False


NOVNC = Kind("novnc", speaks_rfb=True)
SERIAL = Kind("serial", takes_text=True)
SPICE = Kind("spice-html5")

KINDS = {kind.console_type: kind for kind in (NOVNC, SERIAL, SPICE)}
