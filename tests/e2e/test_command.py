"""The command `vncproxy`, and the mistakes that keep a gateway from starting."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.certificates import write_certificate
from tests.e2e.programs import TWISTD, Program, free_port, novnc_directory, temporary_directory


class CommandTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.config_file = self.directory / "vncproxy.conf"
        self.configure("")

    def configure(self, text: str) -> None:
        """Write the configuration file."""
        web = f"web = {novnc_directory()}\n"
        self.config_file.write_text(
            f"[DEFAULT]\n{web}[vncproxy]\nstate_path = {self.directory}/state\n{text}"
        )

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `vncproxy` with the configuration file."""
        command = [sys.executable, "-m", "vncproxy.cli", "--config-file", str(self.config_file)]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

    def assert_fault(self, fault: str, *arguments: str) -> None:
        """Check that the command fails with this one line, and no traceback."""
        done = self.run_command(*arguments)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn(fault, done.stderr)


class TokenCommandTests(CommandTestCase):
    def test_create_list_revoke(self) -> None:
        """A token's whole life, as a person sees it."""
        url = self.run_command("token", "create", "--host=h.example", "--port=5900").stdout
        self.assertRegex(url, r"^http://127\.0\.0\.1:6080/console\?path=%3Ftoken%3D\S{36}\n$")
        listed = self.run_command("token", "list").stdout
        self.assertRegex(listed, r"^[0-9a-f]{12}  20\S+  novnc  \S{36}  h\.example:5900\n$")
        self.assertNotIn(url.strip()[-36:], listed)
        token_id = listed.split()[0]
        self.assertEqual(self.run_command("token", "revoke", token_id).returncode, 0)
        self.assertEqual(self.run_command("token", "list").stdout, "")
        self.assert_fault(f"no token {token_id}", "token", "revoke", token_id)

    def test_json(self) -> None:
        """The same for machines."""
        created = self.run_command(
            *("token", "create", "--json", "--host=::1", "--port=5901"),
            *("--ttl=60", "--instance=aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"),
        )
        token = json.loads(created.stdout)
        self.assertEqual(token["target"], "[::1]:5901")
        self.assertEqual(token["instance"], "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")
        self.assertIn("token%3D", token.pop("url"))
        self.assertEqual(json.loads(self.run_command("token", "list", "--json").stdout), [token])

    def test_hosts_as_people_write_them(self) -> None:
        """With brackets and the port or without: the link leads there, or there is none."""
        for where, target in (
            (["--host=[::1]", "--port=5901"], "[::1]:5901"),
            (["--host=[::1]:5901"], "[::1]:5901"),
            (["--host=[fe80::1%eth0]:5901"], "[fe80::1%eth0]:5901"),
            (["--host=h.example:5901"], "h.example:5901"),
            (["--host=10.0.0.5:5901", "--port=5901"], "10.0.0.5:5901"),
            (["--host=unix:/run/vm/vnc.sock"], "unix:/run/vm/vnc.sock"),
        ):
            created = self.run_command("token", "create", "--json", *where)
            self.assertEqual(json.loads(created.stdout)["target"], target, where)
        for where, words in (
            (["--host=h:5901", "--port=5900"], "--port: --host names the port 5901 already"),
            (["--host=::1:5901"], "--port: give the console's TCP port"),
            (["--host=h:0"], "--host: 'h:0' must be a TCP port, 1 to 65535"),
            (["--host=[h]", "--port=1"], "--host: '[h]' must be a host's name or address"),
            (["--host=vnc://h", "--port=1"], "--host: 'vnc://h' must be a host's name"),
            (["--host=", "--port=1"], "--host: '' must be a host's name"),
            (["--host=a b", "--port=1"], "--host: 'a b' must be a host's name"),
            (["--host=/run/x", "--port=1"], "--port: a UNIX socket has none"),
        ):
            self.assert_fault(words, "token", "create", *where)

    def test_a_unix_socket(self) -> None:
        """A path in the place of the host needs no port."""
        self.run_command("token", "create", "--host=/run/vm/vnc.sock")
        self.assertIn("unix:/run/vm/vnc.sock", self.run_command("token", "list").stdout)

    def test_a_unix_socket_that_would_be_refused(self) -> None:
        """No token is made that the gateway would not follow."""
        self.configure("target_networks = 10.0.0.0/8, /run/consoles\n")
        fault = "the UNIX socket /run/vm/vnc.sock is in no directory where consoles may be"
        self.assert_fault(fault, "token", "create", "--host=/run/vm/vnc.sock")
        self.assertEqual(
            self.run_command("token", "create", "--host=/run/consoles/vnc.sock").returncode, 0
        )
        self.configure(f"[database]\nconnection = sqlite:///{self.directory}/other.sqlite\n")
        self.run_command("database", "create")
        self.assert_fault(fault, "token", "create", "--host=/run/vm/vnc.sock")

    def test_mistakes(self) -> None:
        """Each says what to give."""
        self.assert_fault("--port: give the console's TCP port", "token", "create", "--host=h")
        self.assert_fault("--port", "token", "create", "--host=h", "--port=70000")
        self.assert_fault("--ttl", "token", "create", "--host=h", "--port=1", "--ttl=0")
        self.assert_fault("at least 6 characters", "token", "revoke", "a")

    def test_a_database_that_is_away(self) -> None:
        """The line names no password."""
        self.configure("[database]\nconnection = mysql+pymysql://nova:hunter2@127.0.0.1:1/nova\n")
        self.assert_fault("the token database failed", "token", "list")
        self.assertNotIn("hunter2", self.run_command("token", "list").stderr)

    def test_a_database_without_the_table(self) -> None:
        """`database create` makes what is missing in a database of one's own."""
        self.configure(f"[database]\nconnection = sqlite:///{self.directory}/own.sqlite\n")
        self.assert_fault("no such table", "token", "list")
        self.assertEqual(self.run_command("database", "create").returncode, 0)
        self.assertEqual(self.run_command("token", "list").returncode, 0)


class CheckCommandTests(CommandTestCase):
    def check(self) -> tuple[int, dict[str, tuple[bool, str]]]:
        done = self.run_command("check", "--json")
        findings = json.loads(done.stdout)
        return done.returncode, {f["subject"]: (f["ok"], f["text"]) for f in findings}

    def test_all_is_well(self) -> None:
        """Everything is named, in words and as JSON."""
        status, findings = self.check()
        self.assertEqual(status, 0)
        self.assertTrue(all(ok for ok, _ in findings.values()))
        lines = self.run_command("check").stdout.splitlines()
        self.assertEqual(len(lines), len(findings))
        self.assertTrue(any(line.split() == ["ok", "processes", "one"] for line in lines))
        self.assertTrue(all(line.startswith("ok ") for line in lines), lines)

    def test_a_state_directory_that_is_open_to_others(self) -> None:
        """It works, and is a warning; the files in it were made private."""
        state = self.directory / "state"
        state.mkdir(mode=0o755)
        done = self.run_command("check")
        self.assertEqual(done.returncode, 0)
        line = f"{state} has mode 0755, so others may use it: chmod 0700 {state}"
        self.assertRegex(done.stdout, rf"(?m)^WARN  state_path +{line}$")
        self.assertEqual(done.stdout.count("WARN"), 1)
        found = json.loads(self.run_command("check", "--json").stdout)
        self.assertEqual([f["subject"] for f in found if f["warning"]], ["state_path"])

    def test_no_novnc(self) -> None:
        """A directory without noVNC's core is found out."""
        self.config_file.write_text(f"[DEFAULT]\nweb = {self.directory}\n")
        ok, text = self.check()[1]["noVNC"]
        self.assertFalse(ok)
        self.assertIn("[DEFAULT] web", text)

    def test_no_table(self) -> None:
        """A database without tokens is found out; the password is not shown."""
        self.configure(f"[database]\nconnection = sqlite:///{self.directory}/own.sqlite\n")
        status, findings = self.check()
        self.assertEqual((status, findings["database"][0]), (1, False))
        self.assertIn("vncproxy database create", findings["database"][1])

    def test_limits_and_watching(self) -> None:
        """Wrong networks, more sessions than files, and an audit log that can't be written."""
        self.configure(
            "target_networks = 10.0.0.0/33\nmax_sessions = 100000000\naudit_log = /no/such/log\n"
        )
        status, findings = self.check()
        self.assertEqual(status, 1)
        for subject, words in [
            ("targets", "target_networks"),
            ("limits", "LimitNOFILE"),
            ("audit log", "can't write /no/such/log"),
        ]:
            self.assertFalse(findings[subject][0])
            self.assertIn(words, findings[subject][1])

    def test_single_use_without_its_table(self) -> None:
        """A database of nova's lacks the table that single use needs."""
        database = f"sqlite:///{self.directory}/nova.sqlite"
        self.configure(f"single_use = True\n[database]\nconnection = {database}\n")
        self.run_command("database", "create")
        self.assertTrue(self.check()[1]["database"][0])
        with sqlite3.connect(self.directory / "nova.sqlite") as nova:
            nova.execute("DROP TABLE vncproxy_token_uses")
        ok, text = self.check()[1]["database"]
        self.assertFalse(ok)
        self.assertIn("vncproxy_token_uses", text)

    def test_certificates(self) -> None:
        """A good one, an expired one, and one with another's key."""
        cert = self.directory / "cert.pem"
        for days, ok, words in ((30, True, "is good until"), (-1, False, "expired on")):
            write_certificate(cert, days=days)
            self.config_file.write_text(f"[DEFAULT]\ncert = {cert}\n")
            found = self.check()[1]["certificate"]
            self.assertEqual(found[0], ok)
            self.assertIn(words, found[1])
        other = self.directory / "other.pem"
        write_certificate(other)
        self.config_file.write_text(f"[DEFAULT]\ncert = {cert}\nkey = {other}\n")
        self.assertIn("no certificate with its key", self.check()[1]["certificate"][1])

    def test_what_vnc_servers_need(self) -> None:
        """The CA's file, where TLS is accepted; and the file of targets."""
        self.configure("targets_file = /nowhere/targets.conf\n")
        ok, text = self.check()[1]["VNC servers"]
        self.assertEqual((ok, "/nowhere/targets.conf: No such file" in text), (False, True))
        self.configure("[vnc]\nauth_schemes = vencrypt\n")
        ok, text = self.check()[1]["VNC servers"]
        self.assertEqual((ok, "set [vnc] vencrypt_ca_certs" in text), (False, True))
        ca = self.directory / "ca.pem"
        write_certificate(ca)
        self.configure(f"[vnc]\nauth_schemes = vencrypt\nvencrypt_ca_certs = {ca}\n")
        self.assertEqual(
            self.check()[1]["VNC servers"], (True, "security x509none, x509vnc, x509plain")
        )

    def test_servers(self) -> None:
        """How many the compute driver knows, and which of its hosts does not answer."""
        inventory = self.directory / "servers.yaml"
        self.configure(f"compute_driver = inventory\ninventory_file = {inventory}\n")
        ok, text = self.check()[1]["servers"]
        self.assertEqual((ok, "No such file" in text), (False, True))
        inventory.write_text("servers: [{name: web}, {name: db}]\n")
        self.assertEqual(self.check()[1]["servers"], (True, "2, says inventory"))
        with temporary_directory() as directory, socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(directory / "a.qmp"))
            silent.listen()
            self.configure(
                f"compute_driver = qmp\ncompute_timeout = 0.2\nqmp_sockets = {directory}/*\n"
            )
            said = self.run_command("check").stdout
        self.assertRegex(said, r"ok +servers +0, says qmp\n")
        self.assertRegex(said, r"FAIL +servers +/\S+/a\.qmp: it did not answer in 0\.2 s")

    def test_the_api(self) -> None:
        """Who is let in, or what is missing for it."""
        self.configure("api_listen = tcp:8774:interface=127.0.0.1\napi_auth = token\n")
        ok, text = self.check()[1]["console API"]
        self.assertEqual((ok, "compute_driver" in text), (False, True))
        inventory = self.directory / "servers.yaml"
        inventory.write_text("servers: []\n")
        self.configure(
            "api_listen = tcp:8774:interface=127.0.0.1\napi_auth = none\n"
            f"compute_driver = inventory\ninventory_file = {inventory}\n"
        )
        self.assertEqual(self.check()[1]["console API"], (True, "lets in by none"))

    def test_listeners_of_programs(self) -> None:
        """Words of the API's and the metrics' that can't be followed, and the API's certificate."""
        inventory = self.directory / "servers.yaml"
        inventory.write_text("servers: []\n")
        api = f"api_auth = none\ncompute_driver = inventory\ninventory_file = {inventory}\n"
        self.configure(f"{api}api_listen = https:unix:/run/a\nmetrics_listen = haproxy:tcp:1\n")
        found = self.check()[1]
        for subject, words in (
            (
                "console API",
                "[vncproxy] api_listen: 'https:unix:/run/a' can't be used: https: needs",
            ),
            ("metrics", "[vncproxy] metrics_listen: 'haproxy:tcp:1' can't be used: haproxy: needs"),
        ):
            ok, text = found[subject]
            self.assertEqual((ok, words in text), (False, True), text)
        cert = self.directory / "api.pem"
        write_certificate(cert, days=-1)
        self.configure(f"{api}api_listen = unix:/run/a\napi_cert = {cert}\n")
        self.assertIn("api.pem expired on", self.check()[1]["API certificate"][1])

    def test_listeners_that_can_not_ask(self) -> None:
        """Where clients' certificates are required, plain listeners are a mistake."""
        self.configure(
            "consoles = serial\nlisten_serial = tcp:1\ntls_client_certificates = required\n"
        )
        ok, text = self.check()[1]["serial listener"]
        self.assertEqual((ok, "[vncproxy] listen_serial: 'tcp:1' can't" in text), (False, True))

    def test_a_bad_listener(self) -> None:
        """An endpoint string that is none, and words before one that can't be followed."""
        for listen, words in {
            "carrier-pigeon:6080": "see [vncproxy] listen",
            "https:tcp:6080": "https: needs a certificate",
            "haproxy:tcp:6080": "set [vncproxy] trusted_proxies",
            "https:haproxy:tcp:6080": "haproxy: stands before https:",
        }.items():
            self.configure(f"listen = {listen}\n")
            ok, text = self.check()[1]["novnc listener"]
            self.assertEqual((ok, words in text), (False, True), text)

    def test_sockets_for_everybody(self) -> None:
        """They work, and are warnings, whatever listens there."""
        self.configure(
            "listen = haproxy:unix:/run/vncproxy/a.sock:mode=666\n"
            "listen = unix:/run/vncproxy/b.sock\n"
            "trusted_proxies = unix\n"
            "api_listen = unix:/run/vncproxy/api.sock:mode=777\n"
            "metrics_listen = unix:/run/vncproxy/metrics.sock:662\n"
        )
        said = self.run_command("check").stdout
        for option, mode in (("listen", 666), ("api_listen", 777), ("metrics_listen", 662)):
            line = rf"WARN  \[vncproxy\] {option} +\S+: mode {mode} lets every user of this machine"
            self.assertRegex(said, line)
        self.assertEqual(said.count("WARN"), 3)

    def test_balancers(self) -> None:
        """Networks are networks, and not names."""
        self.configure("trusted_proxies = 10.0.0.0/24, unix\n")
        self.assertEqual(self.check()[1]["balancers"], (True, "10.0.0.0/24, unix"))
        self.configure("trusted_proxies = balancer.example\n")
        ok, text = self.check()[1]["balancers"]
        self.assertEqual(
            (ok, "[vncproxy] trusted_proxies: 'balancer.example'" in text), (False, True)
        )


class StartTests(CommandTestCase):
    """A gateway that can't start says why in one line, and exits with a status that is not 0."""

    def start(self, *flags: str) -> tuple[int, str]:
        command = [
            *TWISTD,
            *("--nodaemon", "--pidfile=", "vncproxy", "--config-file", str(self.config_file)),
        ]
        done = subprocess.run(
            [*command, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=30,
        )
        self.assertNotIn("Traceback", done.stdout)
        return done.returncode, done.stdout

    def assert_no_start(self, pattern: str, *flags: str) -> None:
        status, output = self.start(*flags)
        self.assertEqual(status, 1)
        self.assertEqual(len(output.splitlines()), 1, output)
        self.assertRegex(output, pattern)

    def test_bad_options(self) -> None:
        """A bad value, an unknown option, a missing file, an unknown flag."""
        self.configure("connect_timeout = soon\n")
        self.assert_no_start(r"vncproxy\.conf: \[vncproxy\] connect_timeout: .*soon")
        self.configure("conect_timeout = 1\n")
        self.assert_no_start(r"did you mean connect_timeout\?")
        self.configure("")
        self.assert_no_start(r"/nowhere\.conf: no such file", "--config-file=/nowhere.conf")
        self.assert_no_start(r"unrecognized arguments: --lissen", "--lissen")

    def test_bad_listeners(self) -> None:
        """An endpoint of no kind, and a certificate that is not there."""
        self.configure("listen = carrier-pigeon:6080\n")
        self.assert_no_start(r"\[vncproxy\] listen: 'carrier-pigeon:6080' can't be used")
        self.configure("listen = ssl:6080:privateKey=/nowhere.pem\n")
        self.assert_no_start(r"\[vncproxy\] listen: .*/nowhere\.pem")

    def test_bad_directories(self) -> None:
        """A log file and a state directory that can't be written."""
        self.assert_no_start(r"\[DEFAULT\] log_file: .*/nowhere", "--log-file=/nowhere/log")
        self.configure("")
        flag = f"--vncproxy-state_path={self.config_file}/state"
        self.assert_no_start(r"\[vncproxy\] state_path: can't make", flag)

    def test_a_port_in_use(self) -> None:
        """The log's last line names the listener and the remedy."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            status, output = self.start(f"--vnc-novncproxy_port={port}")
        self.assertEqual(status, 1)
        self.assertRegex(
            output,
            rf"can't listen on tcp:{port}:interface=127\.0\.0\.1: Address already in use; stop the "
            r"other program, or choose another address with \[vnc\] novncproxy_port",
        )

    def test_a_database_that_is_away(self) -> None:
        """A gateway starts without its database, which may come back; users are told meanwhile."""
        port = free_port()
        self.configure(
            f"[vnc]\nnovncproxy_host = 127.0.0.1\nnovncproxy_port = {port}\n"
            "[database]\nconnection = mysql+pymysql://nova:hunter2@127.0.0.1:1/nova\n"
        )
        program = Program(
            [
                *TWISTD,
                *("-n", "--pidfile=", "vncproxy", f"--config-file={self.config_file}"),
            ]
        )
        self.addCleanup(program.stop)
        program.wait_for("listening on")
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/websockify?token=t", timeout=20)
        self.assertEqual(caught.exception.code, 503)
        program.wait_for("refused: 127.0.0.1: store-unavailable")
        self.assertNotIn("hunter2", program.output)
