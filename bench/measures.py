"""What is measured of each peer. Each measure opens the sessions it needs, and closes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.client import Answer, Client
from bench.processes import CannotMeasure, ProcessTree
from bench.results import Figures

_MB = 1_000_000
_WARM_UP = 200
_IN_FLIGHT = 32
_FIRST = 16
STEPS = (1, 4, 16, 64, 256, 1000)


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is done in one measure: enough for a figure that holds still, or quickly.

    Attributes:
        bulk: bytes of the flood.
        pastes: how many 16 MB pastes.
        echo_s: seconds of each echo.
        setups: sessions opened in the measure of the set-up.
        traps: how often the unanswered key is tried.
        desktop_s: seconds of the desktops.
        many: sessions of the measure of scale.
        pulse_s: seconds of its echoes.
    """

    bulk: int = 1000 * _MB
    pastes: int = 5
    echo_s: float = 3.0
    setups: int = 1000
    traps: int = 15
    desktop_s: float = 8.0
    many: int = 9500
    pulse_s: int = 15


QUICK = Amounts(
    bulk=200 * _MB,
    pastes=2,
    echo_s=0.5,
    setups=100,
    traps=5,
    desktop_s=1.5,
    many=1000,
    pulse_s=3,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """One running peer, the client in front of it, and how much to do.

    Attributes:
        client: its sessions go through the peer.
        tree: the peer's processes.
        amounts: of work.
        most_sessions: that the peer and this machine can hold.
    """

    client: Client
    tree: ProcessTree
    amounts: Amounts
    most_sessions: int

    def cost(self, *words: object) -> tuple[Answer, float]:
        """Have the client do something; return its answer, and the peer's CPU seconds for it."""
        before = self.tree.cpu_s()
        answer = self.client.ask(*words)
        return answer, self.tree.cpu_s() - before


def bulk(bench: Bench) -> Figures:
    """Bytes to one client, as fast as they go."""
    bench.client.ask("open", 1, 1)
    bench.client.ask("flood", 50 * _MB)
    answer, cpu_s = bench.cost("flood", bench.amounts.bulk)
    size = bench.amounts.bulk
    return {"mb_per_s": size / _MB / answer["seconds"], "cpu_s_per_gb": cpu_s / size * 1e9}


def paste(bench: Bench) -> Figures:
    """16 MB from a client, in noVNC's messages of 10 KB."""
    size, seconds, cpu_s = 16 * _MB, 0.0, 0.0
    bench.client.ask("open", 1, 1)
    bench.client.ask("paste", size)
    for _ in range(bench.amounts.pastes):
        answer, used_s = bench.cost("paste", size)
        seconds += answer["seconds"]
        cpu_s += used_s
    total = size * bench.amounts.pastes
    return {"mb_per_s": total / _MB / seconds, "cpu_s_per_gb": cpu_s / total * 1e9}


def echo(sessions: int) -> Callable[[Bench], Figures]:
    """Round trips of 8 bytes and of 4 KB on so many sessions, each always waiting for its own."""

    def measure(bench: Bench) -> Figures:
        _needs(bench, sessions)
        bench.client.ask("open", sessions, 16)
        figures: Figures = {}
        for word, size in (("8b", 8), ("4k", 4096)):
            bench.client.ask("echo", sessions, size, bench.amounts.echo_s / 5)
            answer, cpu_s = bench.cost("echo", sessions, size, bench.amounts.echo_s)
            figures |= {
                f"{word}_per_s": answer["count"] / answer["seconds"],
                f"{word}_cpu_us": cpu_s / answer["count"] * 1e6,
                f"{word}_p50_us": answer["p50_us"],
                f"{word}_p99_us": answer["p99_us"],
            }
        return figures

    return measure


def steady(bench: Bench) -> Figures:
    """8-byte echoes at a rate that everybody can hold: 100 a second on each of 64 sessions."""
    sessions, rate = 64, 100
    _needs(bench, sessions)
    bench.client.ask("open", sessions, 16)
    bench.client.ask("pulse", 1, rate)
    seconds = max(1, round(bench.amounts.echo_s))
    answer, cpu_s = bench.cost("pulse", seconds, rate)
    return {
        "kept": answer["count"] / (sessions * rate * seconds),
        "cpu_us": cpu_s / answer["count"] * 1e6,
        "p50_us": answer["p50_us"],
        "p99_us": answer["p99_us"],
    }


def setup(bench: Bench) -> Figures:
    """Sessions opened, eight at a time; then what each weighs while nothing happens."""
    count = min(bench.amounts.setups, bench.most_sessions - _FIRST)
    bench.client.ask("open", _FIRST, 8)  # what is loaded at first use is loaded now
    before_kb = bench.tree.pss_kb()
    answer, cpu_s = bench.cost("open", count, 8)
    time.sleep(1)
    grown_kb = bench.tree.pss_kb() - before_kb
    return {
        "sessions": count,
        "sessions_per_s": count / answer["seconds"],
        "cpu_ms": cpu_s / count * 1e3,
        "p50_ms": answer["p50_us"] / 1e3,
        "p99_ms": answer["p99_us"] / 1e3,
        "kb_per_session": grown_kb / count,
    }


def trap(bench: Bench) -> Figures:
    """A key that nobody answers, and 5 ms later a request that is answered: Nagle's trap."""
    bench.client.ask("open", 1, 1)
    answer = bench.client.ask("trap", bench.amounts.traps)
    return {"p50_ms": answer["p50_us"] / 1e3, "max_ms": answer["max_us"] / 1e3}


def desktop(bench: Bench) -> Figures:
    """100 desktops of 30 updates of 20 KB a second with as much input; one console's echo."""
    desktops, size, rate = 100, 20_000, 30
    _needs(bench, desktops + 1)
    bench.client.ask("open", desktops + 1, 16)
    answer, cpu_s = bench.cost("desktop", desktops, size, rate, bench.amounts.desktop_s)
    offered = desktops * size * rate * answer["seconds"]
    return {
        "p50_ms": answer["p50_us"] / 1e3,
        "p99_ms": answer["p99_us"] / 1e3,
        "delivered": answer["bytes"] / offered,
        # The half second before the timed part costs too.
        "cores": cpu_s / (answer["seconds"] + 0.5),
    }


def slow(bench: Bench) -> Figures:
    """200 MB offered to a client that does not read: how much memory that costs."""
    bench.client.ask("open", 1, 1)
    bench.client.ask("flood", 50 * _MB)
    before_kb = most_kb = bench.tree.pss_kb()
    bench.client.ask("stall", 200 * _MB)
    deadline = grew = time.monotonic()
    deadline += 20
    while time.monotonic() < min(grew + 2, deadline):
        time.sleep(0.1)
        now_kb = bench.tree.pss_kb()
        if now_kb > most_kb:
            most_kb, grew = now_kb, time.monotonic()
    bench.client.ask("drain")
    return {"grown_mb": (most_kb - before_kb) / 1024}


def curve(bench: Bench) -> Figures:
    """8-byte echoes on more and more sessions, and what all of them together weigh."""
    bench.client.ask("open", 1, 1)
    before_kb, open_now = bench.tree.pss_kb(), 1
    figures: Figures = {}
    for sessions in STEPS:
        if sessions > bench.most_sessions:
            break
        if sessions > open_now:
            bench.client.ask("open", sessions - open_now, 16)
            open_now = sessions
        bench.client.ask("echo", sessions, 8, bench.amounts.echo_s / 5)
        answer, cpu_s = bench.cost("echo", sessions, 8, bench.amounts.echo_s / 2)
        figures |= {
            f"{sessions}_cpu_us": cpu_s / answer["count"] * 1e6,
            f"{sessions}_p50_us": answer["p50_us"],
            f"{sessions}_mb": (bench.tree.pss_kb() - before_kb) / 1024,
        }
    return figures


def scale(bench: Bench) -> Figures:
    """As many sessions as descriptors allow, each echoing once a second; all closed; once more."""
    count = bench.amounts.many
    _needs(bench, count)
    bench.client.ask("open", _WARM_UP, _IN_FLIGHT)  # what is loaded and pooled at first use
    bench.client.ask("close")
    _settled(bench.tree, 0)
    before_kb, before_descriptors = bench.tree.pss_kb(), bench.tree.descriptors()
    opened = bench.client.ask("open", count, _IN_FLIGHT)
    time.sleep(2)
    full_kb = bench.tree.pss_kb()
    bench.client.ask("pulse", 2, 1)
    answer, cpu_s = bench.cost("pulse", bench.amounts.pulse_s, 1)
    bench.client.ask("close")
    descriptors = _settled(bench.tree, before_descriptors)
    after_kb = bench.tree.pss_kb()
    bench.client.ask("open", count, _IN_FLIGHT)
    bench.client.ask("close")
    _settled(bench.tree, before_descriptors)
    return {
        "sessions": count,
        "opened_per_s": count / opened["seconds"],
        "kb_per_session": (full_kb - before_kb) / count,
        "p50_ms": answer["p50_us"] / 1e3,
        "p99_ms": answer["p99_us"] / 1e3,
        "missed": answer["missed"],
        "cpu_us": cpu_s / answer["count"] * 1e6,
        "descriptors_left": descriptors - before_descriptors,
        "memory_left_mb": (after_kb - before_kb) / 1024,
        "memory_left_part": (after_kb - before_kb) / max(1, full_kb - before_kb),
        "second_burst_mb": (bench.tree.pss_kb() - after_kb) / 1024,
    }


def _settled(tree: ProcessTree, wanted: int) -> int:
    """Return the open descriptors, as soon as they are no more than wanted or hold still."""
    last, still_since = tree.descriptors(), time.monotonic()
    while last > wanted and time.monotonic() < still_since + 3:
        time.sleep(0.1)
        now = tree.descriptors()
        if now != last:
            last, still_since = now, time.monotonic()
    return last


def _needs(bench: Bench, sessions: int) -> None:
    if bench.most_sessions < sessions:
        raise CannotMeasure(f"it would need {sessions} sessions, and holds {bench.most_sessions}")


MEASURES: dict[str, Callable[[Bench], Figures]] = {
    "bulk": bulk,
    "paste": paste,
    "echo1": echo(1),
    "echo64": echo(64),
    "echo1000": echo(1000),
    "steady": steady,
    "setup": setup,
    "trap": trap,
    "desktop": desktop,
    "slow": slow,
    "curve": curve,
    "scale": scale,
}

# These weigh the peer's memory, so it must have done nothing before.
FRESH = ("setup", "slow", "curve", "scale")
