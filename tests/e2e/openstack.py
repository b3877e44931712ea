"""OpenStack's own client and Keystone, as the Makefile installs them, in private directories."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.programs import Program, free_port, require
from tests.e2e.vnc_servers import listens

_VENV = Path(
    os.environ.get("VNCPROXY_OPENSTACK", str(Path(__file__).parents[2] / ".cache/openstack"))
)
_PYTHON = str(_VENV / "bin/python")
_PASSWORD = "pass-word"
_SERVE = """
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server

port = int(sys.argv.pop())
from keystone.wsgi.api import application

class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

make_server("127.0.0.1", port, application, Server).serve_forever()
"""
_CREATE = """
import json, openstack, sys

cloud = openstack.connect()
roles = {role.name: role for role in cloud.identity.roles()}
project = cloud.identity.create_project(name="lab")
for name in ("member", "reader"):
    user = cloud.identity.create_user(name=name, password=sys.argv[1])
    cloud.identity.assign_project_role_to_user(project, user, roles[name])
service = cloud.identity.create_service(name="nova", type="compute")
cloud.identity.create_endpoint(service_id=service.id, interface="public", url=sys.argv[2])
print(json.dumps(project.id))
"""


def openstack(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run `openstack`; return what it printed.

    Raises:
        AssertionError: it failed; the text is its error line.
    """
    done = _run([str(_VENV / "bin/openstack"), *arguments], environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def openstack_fault(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run an `openstack` that must fail; return its error line."""
    done = _run([str(_VENV / "bin/openstack"), *arguments], environment)
    assert done.returncode, done.stdout
    return done.stderr.strip()


def sdk(script: str, *arguments: str, environment: dict[str, str] | None = None) -> Any:  # noqa: ANN401
    """Run a script with openstacksdk; return the JSON that it prints."""
    done = _run([_PYTHON, "-c", script, *arguments], environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _run(
    command: list[str], environment: dict[str, str] | None
) -> subprocess.CompletedProcess[str]:
    require(command[0])
    own = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    return subprocess.run(
        command, env={**own, **(environment or {})}, capture_output=True, text=True, check=False
    )


class Keystone:
    """A running Keystone with a project ``lab``, and its users ``member`` and ``reader``.

    Args:
        directory: for its database and keys.
        compute_url: of the endpoint in its catalogue.
    """

    def __init__(self, directory: Path, compute_url: str) -> None:
        require(_PYTHON, str(_VENV / "bin/keystone-manage"))
        directory.mkdir()
        self.url = f"http://127.0.0.1:{(port := free_port())}/v3"
        config = directory / "keystone.conf"
        keys = directory / "keys"
        config.write_text(
            f"[database]\nconnection = sqlite:///{directory}/keystone.sqlite\n"
            + "".join(
                f"[{group}]\nkey_repository = {keys}\n"
                for group in ("fernet_tokens", "fernet_receipts", "credential")
            )
        )
        for verb in (
            ("db_sync",),
            ("fernet_setup", "--keystone-user", str(os.getuid()), "--keystone-group", "0"),
            ("bootstrap", "--bootstrap-password", _PASSWORD, "--bootstrap-public-url", self.url),
        ):
            command = [str(_VENV / "bin/keystone-manage"), "--config-file", str(config), *verb]
            done = _run(command, None)
            assert done.returncode == 0, done.stderr
        self._program = Program(
            [_PYTHON, "-c", _SERVE, str(port)],
            {"OS_KEYSTONE_CONFIG_FILES": str(config)},
        )
        self._program.wait_until(lambda: listens(port))
        self.project: str = sdk(
            _CREATE, _PASSWORD, compute_url, environment=self.environment("admin", "admin")
        )

    def environment(self, user: str, project: str = "lab") -> dict[str, str]:
        """Return the variables with which clients log in as the user."""
        return {
            "OS_AUTH_URL": self.url,
            "OS_USERNAME": user,
            "OS_PASSWORD": _PASSWORD,
            "OS_PROJECT_NAME": project,
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_IDENTITY_API_VERSION": "3",
        }

    @property
    def authtoken(self) -> str:
        """The section of a configuration file with which a gateway may ask about tokens."""
        return (
            f"[keystone_authtoken]\nauth_url = {self.url}\nwww_authenticate_uri = {self.url}\n"
            f"username = admin\npassword = {_PASSWORD}\nproject_name = admin\n"
            "user_domain_id = default\nproject_domain_id = default\n"
        )

    def stop(self) -> None:
        """Stop it."""
        self._program.stop()
