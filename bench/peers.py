"""The programs that are compared, and how each is started between the client and the target."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bench import nova
from bench.ours import Gateway, option_exists
from bench.processes import CannotMeasure, ProcessTree, Program
from tests.e2e.programs import free_port

# Its parent keeps two descriptors a session, and the next child's select() takes none above 1023.
_WEBSOCKIFY_SESSIONS = 500
_NOVA_SESSIONS = 116  # 31 MB each; and each has a connection of the 151 that MariaDB takes
_PLENTY = 1_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """What the peers of one run share.

    Attributes:
        directory: private, for their files.
        cache: what the Makefile has built and installed.
        target_port: of the target on loopback.
        tls_pem: a certificate and its key.
        sessions: how many tokens are needed.
        cores: that the peers may run on.
    """

    directory: Path
    cache: Path
    target_port: int
    tls_pem: Path
    sessions: int
    cores: frozenset[int]


@dataclass(slots=True)
class Relay:
    """A peer that is one program, or none.

    Attributes:
        port: that sessions connect to.
        tree: its processes.
        program: to stop.
        paths: file of the paths that sessions ask for.
    """

    port: int
    tree: ProcessTree
    program: Program | None = None
    paths: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.program:
            self.program.stop()


@dataclass(frozen=True, slots=True)
class Peer:
    """One row of the comparison.

    Attributes:
        name: as on the command line.
        label: as in the table.
        wire: ``raw`` for TCP, ``tls`` for TLS on it, ``ws`` and ``wss`` for WebSockets.
        start: starts it.
        missing: says why it can't be measured here, or None.
        most_sessions: that it is asked to hold at once.
    """

    name: str
    label: str
    wire: str
    start: Callable[[Place], Relay]
    missing: Callable[[], str | None] = field(default=lambda: None)
    most_sessions: int = _PLENTY


def start_target(place: Place, port: int, cores: Iterable[int] | None) -> Program:
    """Start a target on these cores, or on our own."""
    command = [str(place.cache / "bench/target"), str(port)]
    return Program(command, port, place.directory / f"target-{port}.log", cores)


def _direct(place: Place) -> Relay:
    # A target of its own on the peers' cores: so its bytes, too, go from one half to the other.
    port = free_port()
    return Relay(port, ProcessTree(None), start_target(place, port, place.cores))


def _haproxy(tls: bool) -> Callable[[Place], Relay]:
    def start(place: Place) -> Relay:
        port = free_port()
        config = place.directory / "haproxy.cfg"
        secure = f" ssl crt {place.tls_pem}" if tls else ""
        config.write_text(
            "global\n  nbthread 1\n  maxconn 9800\n"
            "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n"
            "  timeout server 1h\n"
            f"listen consoles\n  bind 127.0.0.1:{port}{secure}\n"
            f"  server target 127.0.0.1:{place.target_port}\n"
        )
        command = [_find("haproxy") or "haproxy", "-db", "-f", str(config)]
        program = Program(command, port, place.directory / "haproxy.log", place.cores)
        return Relay(port, program.tree, program)

    return start


def _websockify(tls: bool) -> Callable[[Place], Relay]:
    def start(place: Place) -> Relay:
        program = place.cache / "websockify/bin/websockify"
        if not program.exists():
            raise CannotMeasure("websockify is not installed; `make bench` does it")
        port = free_port()
        secure = ["--ssl-only", f"--cert={place.tls_pem}"] if tls else []
        command = [str(program), *secure, f"127.0.0.1:{port}", f"127.0.0.1:{place.target_port}"]
        running = Program(command, port, place.directory / "websockify.log", place.cores)
        return Relay(port, running.tree, running)

    return start


def _ours(tls: bool, **options: object) -> Callable[[Place], Relay]:
    def start(place: Place) -> Relay:
        port = free_port()
        gateway = Gateway(
            place.directory / ("gateway-tls" if tls else "gateway"),
            port,
            place.tls_pem if tls else None,
            options,
        )
        paths = gateway.issue_tokens(place.target_port, place.sessions)
        program = gateway.start(place.cores)
        return Relay(port, program.tree, program, paths)

    return start


def _nova(place: Place) -> Relay:
    port = free_port()
    program, paths = nova.start(
        place.directory, port, place.target_port, _NOVA_SESSIONS, place.cores
    )
    return Relay(port, program.tree, program, paths)


def _needs_option(name: str) -> Callable[[], str | None]:
    return lambda: None if option_exists(name) else f"this build has no [vncproxy] {name}"


def _needs_program(name: str) -> Callable[[], str | None]:
    return lambda: None if _find(name) else f"{name} is not installed"


def _find(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")


PEERS = [
    Peer("direct", "direct connection", "raw", _direct),
    Peer("haproxy", "HAProxy, TCP", "raw", _haproxy(False), _needs_program("haproxy")),
    Peer("haproxy-tls", "HAProxy, TCP over TLS", "tls", _haproxy(True), _needs_program("haproxy")),
    Peer("ours", "vncproxy", "ws", _ours(False)),
    Peer("ours-tls", "vncproxy, TLS", "wss", _ours(True)),
    Peer("ours-2", "vncproxy, 2 workers", "ws", _ours(False, workers=2), _needs_option("workers")),
    Peer(
        "ours-2-tls",
        "vncproxy, 2 workers, TLS",
        "wss",
        _ours(True, workers=2),
        _needs_option("workers"),
    ),
    Peer(
        "portable",
        "vncproxy, portable path",
        "ws",
        _ours(False, splice="portable"),
        _needs_option("splice"),
    ),
    Peer(
        "portable-tls",
        "vncproxy, portable path, TLS",
        "wss",
        _ours(True, splice="portable"),
        _needs_option("splice"),
    ),
    Peer("websockify", "websockify", "ws", _websockify(False), most_sessions=_WEBSOCKIFY_SESSIONS),
    Peer(
        "websockify-tls",
        "websockify, TLS",
        "wss",
        _websockify(True),
        most_sessions=_WEBSOCKIFY_SESSIONS,
    ),
    Peer("nova", "nova-novncproxy", "ws", _nova, nova.missing, _NOVA_SESSIONS),
]
