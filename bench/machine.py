"""Where and of what a run was made: the machine, and the versions of the programs."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path


def machine_facts(cache: Path, load_cores: set[int], peer_cores: set[int]) -> dict[str, str]:
    """Return the facts by name, for the report."""
    gateway = ", ".join(
        f"{name} {version(package)}"
        for name, package in (
            ("vncproxy", "vncproxy"),
            ("Twisted", "twisted"),
            ("Autobahn", "autobahn"),
            ("pyOpenSSL", "pyopenssl"),
        )
    )
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "cores of client and target, of the peer": f"{_list(load_cores)}; {_list(peer_cores)}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{_distribution()}, Linux {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "gateway": f"{gateway}, commit {_commit()}",
        "HAProxy": _printed(["haproxy", "-v"], r"version (\S+)"),
        "websockify": _printed(
            [str(cache / "websockify/bin/pip"), "show", "websockify", "numpy"],
            r"Name: websockify\nVersion: (\S+)",
        ),
        "nova": _printed(["dpkg-query", "-W", "nova-consoleproxy"], r"\t(\S+)"),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def _list(cores: set[int]) -> str:
    return ", ".join(map(str, sorted(cores)))


def _processor() -> str:
    match = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.machine()


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def _commit() -> str:
    return _printed(["git", "describe", "--always", "--dirty"], r"(\S+)")


def _printed(command: list[str], pattern: str) -> str:
    """Return what a program says of itself, or that it is not here."""
    program = shutil.which(command[0], path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        return "not installed"
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    match = re.search(pattern, done.stdout)
    return match[1] if match else "not installed"
