"""A network of the test's own, whose name server takes questions and never answers."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.programs import cannot_test, require

_CLONE_NEWNET = 0x40000000
_ADDRESS = "127.0.0.53"
_FILES = ("resolv.conf", "hosts", "nsswitch.conf")
_MOUNT_AND_RUN = "".join(f'mount --bind "$0/{name}" /etc/{name} && ' for name in _FILES)


class SilentDns:
    """Puts this thread, and what it starts, into a network namespace with a silent name server.

    Args:
        gives_up_s: seconds after which a look-up ends by itself; at most 30, says resolv.conf(5).
        hosts: names in /etc/hosts; each is at 127.0.0.1.

    Attributes:
        within: the beginning of a command that sees the name server and /etc/hosts.
    """

    def __init__(self, gives_up_s: int, hosts: tuple[str, ...] = ()) -> None:
        require("unshare", "ip", "mount")
        if os.geteuid() != 0:
            cannot_test("only root may make a network namespace")
        self._directory = tempfile.TemporaryDirectory(prefix="vncproxy-test-")
        path = Path(self._directory.name)
        options = f"options timeout:{gives_up_s} attempts:1\n"
        (path / "resolv.conf").write_text(f"nameserver {_ADDRESS}\n{options}")
        (path / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in hosts))
        (path / "nsswitch.conf").write_text("hosts: files dns\n")
        run = f'{_MOUNT_AND_RUN}exec "$@"'
        self.within = ("unshare", "--mount", "sh", "-c", run, self._directory.name)
        self._libc = ctypes.CDLL(None, use_errno=True)

    def __enter__(self) -> Self:
        self._before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        if self._libc.unshare(_CLONE_NEWNET):
            cannot_test(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        self._server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._server.bind((_ADDRESS, 53))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        assert self._libc.setns(self._before, _CLONE_NEWNET) == 0
        os.close(self._before)
        self._directory.cleanup()
