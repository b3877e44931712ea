"""A machine of QEMU's with a serial console and a SPICE screen, and a program that uses both."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.programs import Program, free_port, require
from tests.e2e.vnc_servers import listens

# A boot sector in machine code of the 8086. It paints the screen red, says PROMPT on the serial
# line, and then for ever: echoes what comes there, answers Enter with PROMPT again, as a getty
# would, and paints the screen anew at each key, in the colour of the key's code modulo 16.
_PROGRAM = bytes.fromhex(
    "31c08ed8fcfb"  # xor ax,ax; mov ds,ax; cld; sti
    "b004e83500eb15"  # mov al,4; call fill; jmp prompt
    "bafd03eca801741a"  # loop: mov dx,3fdh; in al,dx; test al,1; jz keyboard
    "baf803ec3c0d7405"  # mov dx,3f8h; in al,dx; cmp al,13; je prompt
    "e83400ebeb"  # call putc; jmp loop
    "be657cac08c074e3"  # prompt: mov si,text; next: lodsb; or al,al; jz loop
    "e82700ebf6"  # call putc; jmp next
    "b401cd1674d8b400cd16"  # keyboard: mov ah,1; int 16h; jz loop; mov ah,0; int 16h
    "240fe80200ebcd"  # and al,15; call fill; jmp loop
    "50b81300cd1058"  # fill: push ax; mov ax,13h; int 10h; pop ax
    "bb00a08ec331ff"  # mov bx,0a000h; mov es,bx; xor di,di
    "b900faf3aac3"  # mov cx,64000; rep stosb; ret
    "88c4bafd03eca82074f8"  # putc: mov ah,al; mov dx,3fdh; wait: in al,dx; test al,20h; jz wait
    "88e0baf803eec3"  # mov al,ah; mov dx,3f8h; out dx,al; ret
    "0d0a766d206c6f67696e3a2000"  # text: the prompt
)
PROMPT = b"\r\nvm login: "
RED, GREEN = (170, 0, 0), (0, 170, 0)
GREEN_KEY = "b"


class Machine:
    """A running machine.

    Args:
        directory: for its disk.
    """

    def __init__(self, directory: Path) -> None:
        require("qemu-system-x86_64")
        disk = directory / "disk.img"
        disk.write_bytes(_PROGRAM.ljust(510, b"\0") + b"\x55\xaa")
        self.serial_port, self.spice_port = free_port(), free_port()
        self._program = Program(
            [
                *("qemu-system-x86_64", "-M", "pc", "-nodefaults", "-vga", "std"),
                *("-accel", "tcg", "-m", "16", "-display", "none"),
                *("-drive", f"file={disk},format=raw,if=ide"),
                *("-serial", f"tcp:127.0.0.1:{self.serial_port},server=on,wait=off"),
                *("-spice", f"addr=127.0.0.1,port={self.spice_port},disable-ticketing=on"),
            ]
        )
        ports = (self.serial_port, self.spice_port)
        self._program.wait_until(lambda: all(map(listens, ports)))

    def stop(self) -> None:
        """Stop it."""
        self._program.stop()
