"""libvirt's daemon in session mode, with files of its own, and QEMU machines that do nothing."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

from tests.e2e.programs import Program, cannot_test, require

_DOMAIN = """
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{id}</uuid>
  <memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    {devices}
    <video><model type='vga'/></video>
  </devices>
</domain>"""


class LibvirtDaemon:
    """A libvirtd of the tests' own. Root's would be the system's: so root runs it as nobody."""

    def __init__(self) -> None:
        require("/usr/sbin/libvirtd", "qemu-system-x86_64")
        try:
            import libvirt
        except ImportError:
            cannot_test("not installed: libvirt-python")
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        self._libvirt = libvirt
        self.directory = Path(tempfile.mkdtemp(prefix="vncproxy-libvirt-"))
        self.directory.chmod(0o755)
        self._environment = {"HOME": str(self.directory)}
        for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            self._environment[name] = str(self.directory / name)
            (self.directory / name).mkdir(mode=0o700)
        self._as_nobody: tuple[str, ...] = ()
        if os.geteuid() == 0:
            require("setpriv")
            self._as_nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
            for path in (self.directory, *self.directory.iterdir()):
                shutil.chown(path, "nobody", "nogroup")
        self.start()

    @property
    def uri(self) -> str:
        """The URI that leads to it."""
        return f"qemu+unix:///session?socket={self._socket}"

    @property
    def _socket(self) -> Path:
        return self.directory / "XDG_RUNTIME_DIR/libvirt/libvirt-sock"

    def start(self) -> None:
        """Start it, at first or again; its machines run on meanwhile."""
        self.program = Program([*self._as_nobody, "/usr/sbin/libvirtd"], self._environment)
        self.program.wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            self._libvirt.open(self.uri).close()
        except self._libvirt.libvirtError:
            return False
        return True

    def run(self, name: str, id: str, devices: str) -> None:
        """Run a machine, which is gone when it ends."""
        connection = self._libvirt.open(self.uri)
        connection.createXML(_DOMAIN.format(name=name, id=id, devices=devices))
        connection.close()

    def end(self, name: str) -> None:
        """End a machine."""
        connection = self._libvirt.open(self.uri)
        connection.lookupByName(name).destroy()
        connection.close()

    def freeze(self) -> None:
        """Let it hang: its connections stay, and nothing answers on them."""
        os.kill(self.program.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.program.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End its machines, and it."""
        self.thaw()
        connection = self._libvirt.open(self.uri)
        for domain in connection.listAllDomains():
            domain.destroy()
        connection.close()
        self.program.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
