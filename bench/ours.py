"""The gateway of this checkout, with its tokens in an SQLite database as in a real installation."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from bench.processes import Program
from tests.e2e.programs import TWISTD
from vncproxy.config.options import OPTIONS
from vncproxy.config.read import read_settings
from vncproxy.tokens.engine import open_database
from vncproxy.tokens.issue import TokenIssuer
from vncproxy.tokens.table import TokenTable

_TTL_S = 24 * 3600
_INSTANCE = "11111111-2222-4333-8444-555555555555"


def option_exists(name: str) -> bool:
    """Return whether this build knows an option of the group ``[vncproxy]``."""
    return any(option.dest == name for option in OPTIONS["vncproxy"])


class Gateway:
    """A gateway that does not run yet.

    Args:
        directory: for its files; gateways that share one share its tokens.
        port: to listen on.
        tls_pem: certificate and key, or None for plain TCP.
        options: of ``[vncproxy]``.
    """

    def __init__(
        self, directory: Path, port: int, tls_pem: Path | None, options: dict[str, object]
    ) -> None:
        self._directory = directory
        self._port = port
        directory.mkdir(exist_ok=True)
        self._config = directory / "vncproxy.conf"
        scheme = "https" if tls_pem else "http"
        lines = {"state_path": directory / "state", "token_purge_interval": 0, **options}
        for limit in ("", "_per_instance", "_per_token"):
            if option_exists(f"max_sessions{limit}"):
                # The benchmark itself keeps to the descriptors' limit, and has one machine.
                lines[f"max_sessions{limit}"] = 0
        self._config.write_text(
            f"[DEFAULT]\ncert = {tls_pem or 'none'}\n"
            f"[vnc]\nnovncproxy_port = {port}\n"
            f"novncproxy_base_url = {scheme}://127.0.0.1/console\n"
            "[vncproxy]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())
        )

    def issue_tokens(self, target_port: int, count: int) -> Path:
        """Return the file of paths whose tokens open the target; issue them at first."""
        paths = self._directory / "paths"
        if paths.exists():
            return paths
        settings = read_settings(["--config-file", str(self._config)], "bench")
        engine = open_database(settings)
        table = TokenTable(engine, time.time)
        table.create()
        issuer = TokenIssuer(table, time.time, settings.base_urls)
        with paths.open("w") as file:
            for _ in range(count):
                issued = issuer.issue("novnc", "127.0.0.1", target_port, _INSTANCE, _TTL_S)
                file.write(f"/?token={issued.token.text}\n")
        engine.dispose()
        return paths

    def start(self, cores: Iterable[int]) -> Program:
        """Start it on these cores."""
        command = [*TWISTD, *("--nodaemon", "--pidfile=", "vncproxy")]
        command += ["--config-file", str(self._config)]
        return Program(command, self._port, self._directory / "vncproxy.log", cores)
