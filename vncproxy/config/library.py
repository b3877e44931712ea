"""The libraries that draw consoles in browsers: installed elsewhere, only named here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from vncproxy.config import novnc
from vncproxy.config.settings import Settings
from vncproxy.kinds import NOVNC, SERIAL, SPICE, Kind


@dataclass(frozen=True, slots=True)
class Library:
    """A JavaScript library that pages need.

    Attributes:
        name: as its makers write it.
        root: its directory; None where there is none.
        proof: file below it without which it is something else.
        remedy: what to do where it is missing.
        optional: whether consoles can be opened without it.
        version: of what is there, in words, as far as it is known.
        misfit: why pages can't use what is there, if that is known better than by the proof.
    """

    name: str
    root: Path | None
    proof: str
    remedy: str
    optional: bool = False
    version: str | None = None
    misfit: str | None = None

    @property
    def fault(self) -> str | None:
        """Why pages can't use it, and what to do; None if they can."""
        if self.root is None:
            return f"no {self.name}; {self.remedy}"
        if self.misfit is not None:
            return f"{self.misfit}; {self.remedy}"
        if not (self.root / self.proof).is_file():
            return f"no {self.name} in {self.root}, which has no {self.proof}; {self.remedy}"
        return None

    @override
    def __str__(self) -> str:
        """Return where it is, and which."""
        version = f", version {self.version}" if self.version else ""
        return f"{self.root}{version}"


def library_for(settings: Settings, kind: Kind) -> Library:
    """Return what draws consoles of this kind in browsers."""
    return {NOVNC: _novnc, SERIAL: _xterm, SPICE: _spice_html5}[kind](settings)


def _novnc(settings: Settings) -> Library:
    root = _root(settings.default.web, "/usr/share/novnc")
    remedy = "install noVNC (npm install @novnc/novnc) and name it in [DEFAULT] web"
    if root is None:
        return Library("noVNC", root, novnc.PROOF, remedy)
    version, misfit = novnc.version_in(root), novnc.fault_in(root)
    if novnc.is_untried(version):
        version += f", which is newer than {novnc.NEWEST}, the newest that was tried"
    return Library("noVNC", root, novnc.PROOF, remedy, version=version, misfit=misfit)


def _xterm(settings: Settings) -> Library:
    root = _root(settings.fronts.xterm)
    remedy = "for a terminal page, npm install @xterm/xterm and name it in [vncproxy] xterm"
    return Library("xterm.js", root, "lib/xterm.js", remedy, optional=True)


def _spice_html5(settings: Settings) -> Library:
    chosen = settings.fronts.spice_web
    if NOVNC not in [front.kind for front in settings.served]:  # else `web` is noVNC's
        chosen = chosen or settings.default.web
    root = _root(chosen, "/usr/share/spice-html5")
    remedy = "install spice-html5 and name it in [vncproxy] spice_web"
    return Library("spice-html5", root, "spice_auto.html", remedy)


def _root(chosen: str | None, distributions: str = "") -> Path | None:
    """Return the directory that was chosen, else the distribution's, where that is there."""
    if chosen:
        return Path(chosen)
    usual = Path(distributions)
    return usual if distributions and usual.is_dir() else None
