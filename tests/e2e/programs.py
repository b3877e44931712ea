"""Real programs for the end-to-end tests: started in private, on loopback, and stopped again."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn
from unittest import SkipTest

from tests.audit_lines import checked_lines
from tests.e2e.forked import ForkedTwistd
from vncproxy import cli

# What a shell starts in the background ignores SIGINT, and so would all that it starts.
TWISTD = (
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from twisted.scripts.twistd import run; run()",
)
_START_S = 120.0  # of which a busy machine takes what it needs; only failures take it all
_STOP_S = 10.0
_RESERVED = 64  # by then the programs that the first ones were for listen on them
_reserved: deque[socket.socket] = deque()


def require(*programs: str) -> None:
    """Skip the test where a program, or a file, is not installed; with CI=true, fail it."""
    missing = [p for p in programs if shutil.which(p) is None and not Path(p).is_absolute()]
    missing += [p for p in programs if Path(p).is_absolute() and not Path(p).exists()]
    if missing:
        cannot_test(f"not installed: {', '.join(missing)}")


def cannot_test(why: str) -> NoReturn:
    """Skip the test; with CI=true, where nothing may be missing, fail it."""
    if os.environ.get("CI") == "true":
        raise AssertionError(why)
    raise SkipTest(why)


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on now, nor is given by us or unasked.

    It is below those that the kernel gives to connections (Linux: 32768 and on), or one of the many
    that other tests make could take it before the program that it is for. Tests of other processes,
    which run at the same time, are kept from it by a name that only one socket can have.
    """
    while True:
        port = random.randrange(16384, 32768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _reserve(port)
            return port


def _reserve(port: int) -> None:
    """Raise OSError where another test has chosen this port in the last while."""
    reservation = socket.socket(socket.AF_UNIX)
    _reserved.append(reservation)
    if len(_reserved) > _RESERVED:
        _reserved.popleft().close()
    reservation.bind(f"\0vncproxy-tests-port-{port}")


def becomes_true(condition: Callable[[], bool]) -> bool:
    """Return whether what no event announces becomes true in time."""
    deadline = time.monotonic() + _START_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Program:
    """A running program, whose output is read line by line as it comes.

    Args:
        command: the program and its arguments.
        environment: added to the tests' own.
        pass_fds: descriptors that it inherits.
    """

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        self._watch(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                env={**os.environ, **(environment or {})},
                pass_fds=pass_fds,
            )
        )

    def _watch(self, process: subprocess.Popen[str] | ForkedTwistd) -> None:
        """Read what this process prints, as long as it lives."""
        self._process = process
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything it has printed so far."""
        with self._changed:
            return "\n".join(self._lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first match in the output, as soon as it is there."""

        def found() -> re.Match[str] | None:
            return re.search(pattern, "\n".join(self._lines))

        with self._changed:
            self._changed.wait_for(lambda: found() or not self._reader.is_alive(), timeout=_START_S)
            match = found()
            if match is None:
                printed = "\n".join(self._lines)
                raise AssertionError(f"no {pattern!r} in the output:\n{printed}")
            return match

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the program brings about without a word; its early end fails the test."""
        becomes_true(lambda: condition() or self._process.poll() is not None)
        assert condition(), self.output

    def wait(self) -> int:
        """Wait for the program's own end; return its exit status."""
        status = self._process.wait(_START_S)
        self._reader.join(_STOP_S)
        return status

    def run(self) -> None:
        """Wait for the program's own end, which fails the test if it is not a good one."""
        assert self.wait() == 0, self.output

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        """Ask the program to end."""
        self._process.terminate()

    def stop(self) -> int:
        """End the program; return its exit status."""
        self.terminate()
        try:
            status = self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait(_STOP_S)
        self._reader.join(_STOP_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return status


class WarmTwistd(Program):
    """`twistd` with these arguments, quicker than when its command is started.

    Args:
        arguments: of twistd's command line.
    """

    def __init__(self, arguments: list[str]) -> None:
        self._watch(ForkedTwistd(arguments))


class Gateway:
    """`twistd -n vncproxy` with a database of its own, and the command `vncproxy` beside it.

    Args:
        options: lines of ``[vncproxy]``.
        novnc: noVNC's directory, if not the usual one.
        database: ``[database] connection``, if not the embedded one.
        cert: PEM file of a certificate and its key; None for no TLS.
        flags: more of twistd's command line.
        more: sections at the configuration's end.
        environment: added to its environment.
        within: the beginning of its command line: a program that becomes the gateway.

    Attributes:
        secrets: what must not be in its audit log, which is checked when it stops.
    """

    def __init__(
        self,
        options: dict[str, object] | None = None,
        flags: tuple[str, ...] = (),
        novnc: str | None = None,
        database: str | None = None,
        cert: Path | None = None,
        environment: dict[str, str] | None = None,
        more: str = "",
        within: tuple[str, ...] = (),
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vncproxy-test-"))
        self.secrets: list[str] = []
        self._environment = environment
        self.port = free_port()
        self.config_file = self.directory / "vncproxy.conf"
        lines = {
            "state_path": self.directory / "state",
            "audit_log": self.directory / "audit.log",
            **(options or {}),
        }
        self._audit_log = Path(str(lines["audit_log"]))
        self.config_file.write_text(
            f"[DEFAULT]\nweb = {novnc or novnc_directory()}\ncert = {cert or 'none'}\n"
            f"[vnc]\nnovncproxy_port = {self.port}\n"
            + (self._not_embedded(database) if database else "")
            + "[vncproxy]\n"
            + "".join(f"{name} = {value}\n" for name, value in lines.items())
            + more
        )
        self._within = within
        self._arguments = [
            *("--nodaemon", "--pidfile=", "vncproxy"),
            *("--config-file", str(self.config_file), *flags),
        ]
        self.start()

    program: Program

    def start(self) -> None:
        """Start its program; it was stopped by ``program.stop()`` if it ran before."""
        if self._within or self._environment:
            command = [*self._within, *TWISTD, *self._arguments]
            self.program = Program(command, self._environment)
        else:
            self.program = WarmTwistd(self._arguments)
        self.program.wait_for(r"listening on ")

    def _not_embedded(self, database: str) -> str:
        """Return what the embedded database would have made the default."""
        return (
            f"novncproxy_host = 127.0.0.1\nnovncproxy_base_url = {self.url}/console\n"
            f"[database]\nconnection = {database}\n"
        )

    @property
    def url(self) -> str:
        """Where its pages are."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.program.output

    @property
    def memory_kb(self) -> int:
        """Resident memory of the gateway's process, in KiB."""
        status = Path(f"/proc/{self.program.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command `vncproxy` with this gateway's configuration."""
        return subprocess.run(
            [
                *(sys.executable, "-m", "vncproxy.cli"),
                *("--config-file", str(self.config_file), *arguments),
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    def console_url(self, port: int, *options: str) -> str:
        """Return the URL that opens the console at this loopback port."""
        url = issue_token(self.config_file, port, *options)
        self.secrets.append(url[-36:])
        return url

    def audit(self) -> list[dict[str, object]]:
        """Return the lines of its audit log, which are checked by that."""
        text = self._audit_log.read_text() if self._audit_log.is_file() else ""
        whole = text[: text.rfind("\n") + 1]  # the last one may be half there
        return checked_lines(whole, self.secrets)

    def sockets(self) -> int:
        """Return how many sockets the gateway has open."""
        count = 0
        for descriptor in Path(f"/proc/{self.program.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                count += str(descriptor.readlink()).startswith("socket:")
        return count

    def stop(self) -> int:
        """Stop it; return its exit status."""
        status = self.program.stop()
        self.audit()
        shutil.rmtree(self.directory, ignore_errors=True)
        return status


def issue_token(config: Path, port: int, *options: str) -> str:
    """Return the URL that opens the console at this loopback port, with a gateway so configured."""
    create = ["token", "create", "--host=127.0.0.1", f"--port={port}", *options]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):  # in this process: it starts faster
        assert cli.main(["--config-file", str(config), *create]) == 0
    return printed.getvalue().strip()


def start_by_systemd(
    listener: socket.socket, config: Path, environment: dict[str, str] | None = None
) -> Program:
    """Start a gateway as systemd does that holds its listening socket open."""
    # The inherited descriptor must be number 3, and LISTEN_PID the gateway's own.
    become = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid());"
    become += f"os.dup2({listener.fileno()}, 3); os.set_inheritable(3, True);"
    become += "os.execv(sys.argv[1], sys.argv[1:])"
    return Program(
        [
            *(sys.executable, "-c", become, *TWISTD),
            *("-n", "--pidfile=", "vncproxy", f"--config-file={config}"),
        ],
        {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "vncproxy.socket", **(environment or {})},
        pass_fds=(listener.fileno(),),
    )


def novnc_directory() -> Path:
    """Return noVNC's directory: the one that the Makefile brings, else the distribution's."""
    return Path(os.environ.get("VNCPROXY_NOVNC", "/usr/share/novnc"))


class XvncServer:
    """Xtigervnc: an X server whose screen is a VNC console.

    Args:
        options: more of its command line.
    """

    def __init__(self, *options: str) -> None:
        require("Xtigervnc")
        self.port = free_port()
        display, wanted = os.pipe()
        self._process = subprocess.Popen(
            [
                *("Xtigervnc", "-displayfd", str(wanted), "-rfbport", str(self.port)),
                *("-localhost", "-geometry", "800x600", "-depth", "24", "-AlwaysShared"),
                *(options or ("-SecurityTypes", "None")),
            ],
            pass_fds=(wanted,),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(wanted)
        with os.fdopen(display) as reader:
            self.display = f":{reader.readline().strip()}"

    def run(self, *command: str) -> str:
        """Run an X client on the screen to its end; return what it printed."""
        require(command[0])
        environment = {**os.environ, "DISPLAY": self.display}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout

    def start(self, *command: str) -> Program:
        """Start an X client on the screen."""
        require(command[0])
        return Program(list(command), {"DISPLAY": self.display})

    def stop(self) -> None:
        """Stop the server."""
        self._process.terminate()
        self._process.wait(_STOP_S)


def copied_in(server: XvncServer) -> str:
    """Return the text in the X server's clipboard, or "" where there is none."""
    try:
        return server.run("xclip", "-selection", "clipboard", "-o")
    except subprocess.CalledProcessError:
        return ""


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """Give a private directory, and remove it."""
    with tempfile.TemporaryDirectory(prefix="vncproxy-test-") as path:
        yield Path(path)
