"""`vncproxy server`, `console` and `api-token`: without an API, without a gateway."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys

from tests.e2e.test_command import CommandTestCase
from vncproxy import cli

_WEB = "11111111-1111-4111-8111-111111111111"
_TWINS = ("22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333")
_INVENTORY = f"""servers:
- {{name: web, id: {_WEB}, host: rack 1, consoles: {{novnc: "10.0.0.5:5900"}}}}
- {{name: twin, id: {_TWINS[0]}}}
- {{name: twin, id: {_TWINS[1]}}}
- {{name: "off", status: shutoff, consoles: {{novnc: "10.0.0.5:5901"}}}}
"""


class HereTestCase(CommandTestCase):
    """Runs the command in the tests' own process, which is much faster."""

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `vncproxy` with the configuration file."""
        stdout, stderr = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            status = cli.main(["--config-file", str(self.config_file), *arguments])
        return subprocess.CompletedProcess([], status, stdout.getvalue(), stderr.getvalue())


class ConsoleCommandTests(HereTestCase):
    def setUp(self) -> None:
        super().setUp()
        inventory = self.directory / "servers.yaml"
        inventory.write_text(_INVENTORY)
        self.configure(f"compute_driver = inventory\ninventory_file = {inventory}\n")

    def test_server_list(self) -> None:
        """By name, with state, id and host; the same for machines."""
        listed = self.run_command("server", "list").stdout
        self.assertEqual(len(listed.splitlines()), 4)
        self.assertIn(f"web   ACTIVE     {_WEB}  rack 1\n", listed)
        servers = json.loads(self.run_command("server", "list", "--json").stdout)
        web = {"id": _WEB, "name": "web", "status": "ACTIVE", "host": "rack 1", "project": None}
        self.assertIn(web, servers)

    def test_console_url(self) -> None:
        """By name and by UUID; its token opens the console for as long as wanted."""
        for server in ("web", _WEB.upper()):
            url = self.run_command("console", "url", server).stdout
            self.assertRegex(url, r"^http://127\.0\.0\.1:6080/console\?path=%3Ftoken%3D\S{36}\n$")
        found = json.loads(self.run_command("console", "url", "web", "--json", "--ttl=60").stdout)
        self.assertEqual((found["type"], found["server"]["id"]), ("novnc", _WEB))
        tokens = json.loads(self.run_command("token", "list", "--json").stdout)
        self.assertEqual([token["target"] for token in tokens], ["10.0.0.5:5900"] * 3)
        self.assertEqual(tokens[0]["instance"], _WEB)

    def test_console_open(self) -> None:
        """The browser that the environment names gets the URL; without one that is said."""
        seen = self.directory / "seen"
        browser = self.directory / "browser"
        browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}\n')
        browser.chmod(0o755)
        command = [sys.executable, "-m", "vncproxy.cli", "--config-file", str(self.config_file)]
        command += ["console", "open", "web"]
        done = subprocess.run(
            command,
            env={**os.environ, "BROWSER": f"{browser} %s"},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(seen.read_text(), r"/console\?path=%3Ftoken%3D\S{36}#title=web$")
        self.assertNotIn("token", done.stdout)

    def test_mistakes(self) -> None:
        """Each is one line."""
        self.assert_fault("Server nobody could not be found.", "console", "url", "nobody")
        self.assert_fault(f"{_TWINS[0]} on inventory, {_TWINS[1]}", "console", "url", "twin")
        self.assert_fault("Server off is not running.", "console", "url", "off")
        self.assert_fault("has no console of type novnc", "console", "url", _TWINS[0])
        self.assert_fault("--ttl", "console", "url", "web", "--ttl=0")
        self.configure("")
        self.assert_fault("[vncproxy] compute_driver", "server", "list")


class ApiTokenCommandTests(HereTestCase):
    def test_create_and_list(self) -> None:
        """A token is printed once; the list has names and what they may open."""
        token = self.run_command("api-token", "create", "kim", "--servers=web-*", "--servers=db")
        self.assertRegex(token.stdout, r"^vnc_\S{43}\n$")
        created = self.run_command("api-token", "create", "root", "--admin", "--json").stdout
        self.assertEqual(json.loads(created)["name"], "root")
        listed = self.run_command("api-token", "list").stdout
        self.assertEqual(listed, "kim: web-*, db\nroot: all\n")
        root = {"name": "root", "servers": [], "projects": [], "admin": True}
        self.assertIn(root, json.loads(self.run_command("api-token", "list", "--json").stdout))

    def test_mistakes(self) -> None:
        """Nothing to open, a name that is taken, and no file yet."""
        self.assert_fault("No such file", "api-token", "list")
        self.assert_fault("say what they may open", "api-token", "create", "kim")
        self.run_command("api-token", "create", "kim", "--admin")
        self.assert_fault("choose another name", "api-token", "create", "kim", "--admin")
