"""Real VNC servers in each of their security modes: QEMU and x11vnc (Xtigervnc is in programs)."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from tests.e2e.programs import Program, XvncServer, free_port, require
from vncproxy.rfb.security import challenge_response

# VNC password files hold the password encrypted by a key that everyone knows.
_FILE_KEY = bytes([23, 82, 107, 6, 35, 78, 88, 7]).decode("ascii")


def write_password_file(path: Path, password: str) -> None:
    """Write what `vncpasswd` writes."""
    path.write_bytes(challenge_response(password.encode().ljust(8, b"\0")[:8], _FILE_KEY))


def listens(port: int) -> bool:
    """Whether somebody listens on this loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class QemuServer:
    """QEMU with a machine that does nothing, and its VNC server.

    Args:
        vnc_options: behind the address in `-vnc`, such as ``,password=on``.
        objects: `-object` arguments.
    """

    def __init__(self, vnc_options: str = "", objects: tuple[str, ...] = ()) -> None:
        require("qemu-system-x86_64")
        self.port = free_port()
        self._qmp = Path("/tmp") / f"vncproxy-qmp-{os.getpid()}-{self.port}"
        self._program = Program(
            [
                *("qemu-system-x86_64", "-M", "pc", "-S", "-nodefaults", "-vga", "std"),
                *("-accel", "tcg", "-m", "16", "-display", "none"),
                *(word for item in objects for word in ("-object", item)),
                *("-vnc", f"127.0.0.1:{self.port - 5900}{vnc_options}"),
                *("-qmp", f"unix:{self._qmp},server=on,wait=off"),
            ]
        )
        self._program.wait_until(lambda: listens(self.port))

    def set_password(self, password: str) -> None:
        """Set the VNC password by QMP, as libvirt does."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._qmp))
            lines = connection.makefile("rw")
            lines.readline()
            for command, arguments in (
                ("qmp_capabilities", {}),
                ("set_password", {"protocol": "vnc", "password": password}),
            ):
                lines.write(json.dumps({"execute": command, "arguments": arguments}))
                lines.flush()
                assert "return" in json.loads(lines.readline())

    def stop(self) -> None:
        """Stop it."""
        self._program.stop()
        self._qmp.unlink(missing_ok=True)


class X11vncServer:
    """x11vnc, which shares the screen of another X server.

    Args:
        shared: that X server.
        options: more of its command line.
    """

    def __init__(self, shared: XvncServer, *options: str) -> None:
        require("x11vnc")
        self.port = free_port()
        self._program = Program(
            [
                *("x11vnc", "-display", shared.display, "-rfbport", str(self.port)),
                *("-localhost", "-forever", "-shared", "-noxdamage", "-no6", *options),
            ]
        )
        self._program.wait_until(lambda: listens(self.port))

    def stop(self) -> None:
        """Stop it."""
        self._program.stop()
