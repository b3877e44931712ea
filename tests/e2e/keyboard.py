"""A machine of QEMU's with a VNC screen, and a program that tells which keys came."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.programs import Program, free_port, require
from tests.e2e.vnc_servers import listens

# A boot sector in machine code of the 8086. It takes the keyboard's interrupt from the BIOS, whose
# own buffer holds 16 keys, and hands each byte of the keyboard to QEMU's debug console at once.
_PROGRAM = bytes.fromhex(
    "fa31c08ed8"  # cli; xor ax,ax; mov ds,ax
    "c70624001b7c"  # mov word [9*4],7c1bh
    "a32600"  # mov [9*4+2],ax
    "b052e6e9"  # mov al,'R'; out 0e9h,al (it is ready)
    "b020e620"  # mov al,20h; out 20h,al
    "fbf4ebfc"  # idle: sti; hlt; jmp idle
    "90"  # nop
    "50e460e6e9"  # 7c1b: push ax; in al,60h; out 0e9h,al
    "b020e62058cf"  # mov al,20h; out 20h,al; pop ax; iret
)
_READY = b"R"
_RELEASED = 0x80  # added to a key's code
_SHIFTS = (0x2A, 0x36)
# The keys of a US keyboard by their codes, from 1 on, without and with Shift ("\0": no character).
_PLAIN = "\x1b1234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 "
_SHIFTED = '\x1b!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:"~\0|ZXCVBNM<>?\0*\0 '


# A keyboard holds 16 bytes: a guest that other tests keep from running for longer loses keys.
_AT_ONCE = ("chrt", "--rr", "1")


class KeyboardMachine:
    """A running machine that notes its keyboard's bytes, at once where we may have that.

    Args:
        directory: for its disk, and what it notes.
    """

    def __init__(self, directory: Path) -> None:
        require("qemu-system-x86_64")
        disk = directory / "disk.img"
        disk.write_bytes(_PROGRAM.ljust(510, b"\0") + b"\x55\xaa")
        self._noted = directory / "noted"
        self.port = free_port()
        may = subprocess.run([*_AT_ONCE, "true"], capture_output=True, check=False).returncode == 0
        self._program = Program(
            [
                *(_AT_ONCE if may else ()),
                *("qemu-system-x86_64", "-M", "pc", "-nodefaults", "-vga", "std"),
                *("-accel", "tcg", "-m", "16", "-display", "none"),
                *("-drive", f"file={disk},format=raw,if=ide"),
                *("-chardev", f"file,id=noted,path={self._noted}"),
                *("-device", "isa-debugcon,iobase=0xe9,chardev=noted"),
                *("-vnc", f"127.0.0.1:{self.port - 5900}"),
            ]
        )
        self._program.wait_until(lambda: listens(self.port))
        self._program.wait_until(lambda: _READY in self._noted.read_bytes())

    @property
    def codes(self) -> bytes:
        """The keyboard's bytes so far."""
        return self._noted.read_bytes().partition(_READY)[2]

    @property
    def held(self) -> set[int]:
        """The codes of the keys that are down now."""
        held: set[int] = set()
        for code in self.codes:
            (held.discard if code & _RELEASED else held.add)(code & ~_RELEASED)
        return held

    @property
    def typed(self) -> str:
        """The text that a guest with a US keyboard reads."""
        text, shifts = "", set[int]()
        for code in self.codes:
            key, down = code & ~_RELEASED, not code & _RELEASED
            if key in _SHIFTS:
                (shifts.add if down else shifts.discard)(key)
            elif down:
                text += (_SHIFTED if shifts else _PLAIN)[key - 1]
        return text

    def stop(self) -> None:
        """Stop it."""
        self._program.stop()
