"""The options of nova's console proxies: nova's names, types, defaults, and flags are ours."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from oslo_config import cfg
from twisted.trial.unittest import SynchronousTestCase

from tests.openstack import list_options
from tests.openstack.nova_process import NEWEST, OLDEST, require_nova
from vncproxy.config.options import OPTIONS
from vncproxy.config.read import read_settings
from vncproxy.config.report import OptionReport, report_on
from vncproxy.config.settings import Settings

# Ours that differ from nova's: in what, and why. Whatever nova takes is taken all the same.
_DIFFERENT: dict[tuple[str, str], tuple[set[str], str]] = {
    ("DEFAULT", "web"): ({"default"}, "the same directory is the default, where it exists"),
    ("DEFAULT", "transport_url"): ({"default"}, "without one there is no bus, not one on loopback"),
    ("DEFAULT", "control_exchange"): ({"default"}, "nova's commands make it nova"),
    ("vnc", "novncproxy_base_url"): ({"type"}, "nova's type is of a URI; any text is taken"),
    ("serial_console", "base_url"): ({"type"}, "the same"),
    ("spice", "html5proxy_base_url"): ({"type"}, "the same"),
    ("spice", "html5proxy_host"): ({"type"}, "a name is good, too"),
    ("vnc", "auth_schemes"): ({"choices"}, "there are more schemes"),
    ("api_database", "connection"): ({"old"}, "old names are those of [database] connection only"),
    ("keystone_authtoken", "auth_type"): ({"type", "default"}, "by a password, as all do"),
    ("keystone_authtoken", "http_connect_timeout"): ({"default"}, "nobody is waited for for ever"),
}
# What nova's own sample configuration is made of (its etc/nova/nova-config-generator.conf).
_SAMPLE = """nova.conf keystonemiddleware.auth_token oslo.cache oslo.concurrency oslo.db oslo.limit
oslo.log oslo.messaging oslo.middleware oslo.policy oslo.privsep oslo.reports
oslo.service.periodic_task oslo.service.service oslo.service.sslutils oslo.service.wsgi
oslo.versionedobjects"""
_GENERATE = "import sys; from oslo_config.generator import main; main(sys.argv[1:])"
# All flags of nova-novncproxy, each with a value where it takes one.
_FLAGS = """--debug -d --nodebug --log-date-format=%H --use-syslog --nouse-syslog --use-journal
--nouse-journal --use-json --nouse-json --watch-log-file --nowatch-log-file
--syslog-log-facility=LOG_USER --record=/tmp/r --cert=c.pem --key=k.pem --daemon --nodaemon
--ssl_only --nossl_only --source_is_ipv6 --nosource_is_ipv6 --vnc-novncproxy_host=::1
--vnc-novncproxy_port=7000 --vnc-auth_schemes=vencrypt,none --vnc-vencrypt_client_key=k
--vnc-vencrypt_client_cert=c --vnc-vencrypt_ca_certs=a --log-dir=d --logdir=d --log-file=f
--logfile=f --log-config-append=x --log-config=x --log_config=x"""


@cache
def novas_options(python: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Return every option of nova's by group and name, as ``list_options`` describes it."""
    require_nova(python)
    command = [python, "-W", "ignore", list_options.__file__]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    return {(option["group"], option["name"]): option for option in json.loads(listed.stdout)}


@cache
def novas_sample(python: str) -> str:
    """Return nova's sample configuration with every option set, to its default where it has one."""
    require_nova(python)
    namespaces = [flag for name in _SAMPLE.split() for flag in ("--namespace", name)]
    command = [python, "-W", "ignore", "-c", _GENERATE, *namespaces]
    sample = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    options = re.sub(r"(?m)^#(\w[\w-]*) *=", r"\1 =", sample)
    return re.sub(r"(?m)= <None>$", "= 1", options)


def ours() -> dict[tuple[str, str], dict[str, Any]]:
    """Return our options in the same way."""
    found = [
        list_options.described(group, option)
        for group, options in OPTIONS.items()
        for option in options
    ]
    return {(option["group"], option["name"]): option for option in found}


class OldestTests(SynchronousTestCase):
    """Beside the options of the oldest nova."""

    python = OLDEST

    def test_ours_are_novas(self) -> None:
        """What both have is of the same type and range, with the same default and old names."""
        compared = 0
        for place, option in ours().items():
            novas = novas_options(self.python).get(place)
            if novas is None or place[0] == "vncproxy":
                continue
            compared += 1
            differs, _why = _DIFFERENT.get(place, (set[str](), ""))
            for aspect in {"type", "choices", "min", "max", "default", "secret"} - differs:
                self.assertEqual(option[aspect], novas[aspect], f"{place}: {aspect}")
            if "choices" in differs:
                self.assertLessEqual(set(novas["choices"]), set(option["choices"]))
            for old in novas["old"]:
                self.assertTrue("old" in differs or old in option["old"], f"{place}: {old}")
        self.assertGreater(compared, 35)

    def test_the_whole_sample(self) -> None:
        """Every option that nova's sample sets is named by `check`, and none is refused."""
        path = Path(self.mktemp())
        path.write_text(novas_sample(self.python))
        read_settings([f"--config-file={path}"], "test")
        named: dict[str, OptionReport] = {}
        for report in report_on([f"--config-file={path}"], "test"):
            group, _, name = report.option.partition(" ")
            names = report.text.partition(":")[0].split(", ") if name == "*" else [name]
            named |= {f"{group} {each}": report for each in names}
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(str(path), sections).parse()
        set_there = {f"[{group}] {name}" for group, names in sections.items() for name in names}
        self.assertGreater(len(set_there), 1000)
        self.assertEqual(set_there - set(named), set())
        odd = {option: r.text for option, r in named.items() if r.state in ("wrong", "unknown")}
        self.assertEqual(odd, {})


class NewestTests(OldestTests):
    """Beside the options of the newest nova."""

    python = NEWEST


class FilesTestCase(SynchronousTestCase):
    def file(self, text: str, directory: Path | None = None, name: str = "nova.conf") -> str:
        directory = directory or Path(self.mktemp())
        directory.mkdir(exist_ok=True)
        (directory / name).write_text(text)
        return str((directory / name).absolute())

    def read(self, text: str, *flags: str) -> Settings:
        return read_settings([f"--config-file={self.file(text)}", *flags], "test")


class FlagsTests(FilesTestCase):
    def test_every_flag_of_nova_novncproxy(self) -> None:
        """A unit file needs no other change than the program's name."""
        web = f"--web={self.mktemp()}"
        Path(web.partition("=")[2]).mkdir()
        for flag in (*_FLAGS.split(), web):
            if flag != "--ssl_only":  # which is refused without a certificate, as by nova
                self.read("", flag)

    def test_those_that_are_not_followed(self) -> None:
        """Are named at start, with the reason."""
        settings = self.read("[DEFAULT]\nuse_syslog = yes\n", "--record=/tmp/r", "--daemon")
        self.assertEqual(
            [line.partition(":")[0] for line in settings.ignored],
            [f"[DEFAULT] {name} is not followed" for name in ("record", "daemon", "use_syslog")],
        )
        self.assertEqual(self.read("").ignored, ())


class PrecedenceTests(FilesTestCase):
    """As oslo.config has it, for nova.conf files as they are."""

    def test_files_and_directories(self) -> None:
        """Later wins, a directory at the place where it is named, in the files' order."""
        directory = Path(self.mktemp())
        self.file("[vnc]\nnovncproxy_port = 10\n", directory, "10.conf")
        self.file("[vnc]\nnovncproxy_port = 20\n", directory, "20.conf")
        first = self.read("[vnc]\nnovncproxy_port = 1\n", f"--config-dir={directory}")
        self.assertEqual(first.vnc.novncproxy_port, 20)
        last = self.file("[vnc]\nnovncproxy_port = 1\n")
        arguments = [f"--config-dir={directory}", f"--config-file={last}"]
        self.assertEqual(read_settings(arguments, "test").vnc.novncproxy_port, 1)

    def test_a_flag_before_a_file(self) -> None:
        """Is overridden by it; one behind the file is not."""
        path = self.file("[vnc]\nnovncproxy_port = 1\n")
        before = ["--vnc-novncproxy_port=2", f"--config-file={path}"]
        self.assertEqual(read_settings(before, "test").vnc.novncproxy_port, 1)
        self.assertEqual(read_settings(before[::-1], "test").vnc.novncproxy_port, 2)

    def test_the_environment(self) -> None:
        """Overrides the files."""
        self.patch(__import__("os"), "environ", {"OS_VNC__NOVNCPROXY_PORT": "3", "HOME": "/"})
        self.assertEqual(self.read("[vnc]\nnovncproxy_port = 1\n").vnc.novncproxy_port, 3)

    def test_an_old_name_in_a_later_file(self) -> None:
        """Beats the new one in an earlier file."""
        old = self.file("[DEFAULT]\nnovncproxy_port = 2\n")
        settings = self.read("[vnc]\nnovncproxy_port = 1\n", f"--config-file={old}")
        self.assertEqual(settings.vnc.novncproxy_port, 2)

    def test_interpolation(self) -> None:
        """Of host facts, of other groups, and none where it is escaped."""
        settings = self.read(
            "[DEFAULT]\nmy_ip = 10.0.0.9\nstate_path = /var/lib/nova\ncert = $state_path/c.pem\n"
            "key = ${vnc.novncproxy_host}/k\n[vnc]\nnovncproxy_host = $my_ip\n"
            "[database]\nconnection = mysql://nova:pa$$word@db/nova\n"
        )
        self.assertEqual(settings.vnc.novncproxy_host, "10.0.0.9")
        self.assertEqual(settings.default.cert, "/var/lib/nova/c.pem")
        self.assertEqual(settings.default.key, "10.0.0.9/k")
        self.assertEqual(settings.database.connection, "mysql://nova:pa$word@db/nova")
        self.assertTrue(self.read("[vnc]\nnovncproxy_host = $my_ip\n").vnc.novncproxy_host)

    def test_syntax(self) -> None:
        """Quotes, colons, continued lines, groups in capitals, and lists with a comma too many."""
        settings = self.read(
            '[VNC]\nnovncproxy_host: "::1"\n[Console]\nallowed_origins = a,\n  b,\n# c\n'
        )
        self.assertEqual(settings.vnc.novncproxy_host, "::1")
        self.assertEqual(settings.console.allowed_origins, ("a", "b"))

    def test_the_log(self) -> None:
        """log_dir and log_file go together as in nova."""
        for text, expected in (
            ("", None),
            ("log_file = a.log", "a.log"),
            ("log_dir = /var/log/nova", "/var/log/nova/vncproxy.log"),
            ("log_dir = /var/log/nova\nlog_file = a.log", "/var/log/nova/a.log"),
            ("logdir = /d\nlogfile = /var/a.log", "/var/a.log"),
        ):
            self.assertEqual(self.read(f"[DEFAULT]\n{text}\n").log_path, expected)


class ReportTests(FilesTestCase):
    def report(self, text: str) -> dict[str, OptionReport]:
        reports = report_on([f"--config-file={self.file(text)}"], "test")
        return {report.option: report for report in reports}

    def test_the_table(self) -> None:
        """What was understood, what is ignored and why, and what is wrong."""
        found = self.report(
            "[DEFAULT]\ntransport_url = rabbit://u:s3cret@h/\nnovncproxy_port = 1\nrecord = x\n"
            "cpu_allocation_ratio = 1\nreserved_host_cpus = 1\n"
            "[database]\nconnection = mysql://u:s3cret@h/\n"
            "max_retries = -1\n[vnc]\nserver_listen = ::\nnovncproxy_hots = ::\nkeymap = de\n"
            "auth_schemes = magic\n[api_database]\nconnection_parameters = ssl=1&password=s3cret\n"
            "[keystone_authtoken]\nauth_url = http://u:s3cret@h/v3\n"
            "[oslo_messaging_rabbit]\nssl = True\n[vncproxy]\nlissen = a\n"
        )
        self.assertEqual(
            {option: report.state for option, report in found.items()},
            {
                "[DEFAULT] transport_url": "understood",
                "[DEFAULT] novncproxy_port": "understood",
                "[DEFAULT] record": "ignored",
                "[DEFAULT] *": "ignored",
                "[database] connection": "understood",
                "[database] max_retries": "ignored",
                "[vnc] server_listen": "ignored",
                "[vnc] novncproxy_hots": "wrong",
                "[vnc] keymap": "unknown",
                "[vnc] auth_schemes": "wrong",
                "[api_database] connection_parameters": "understood",
                "[keystone_authtoken] auth_url": "understood",
                "[oslo_messaging_rabbit] ssl": "understood",
                "[vncproxy] lissen": "wrong",
            },
        )
        self.assertNotIn("s3cret", repr(found))
        self.assertEqual(
            found["[DEFAULT] *"].text,
            "cpu_allocation_ratio, reserved_host_cpus: no console proxy reads it",
        )
        self.assertIn("[vnc] novncproxy_port", found["[DEFAULT] novncproxy_port"].text)
        self.assertIn("did you mean novncproxy_host?", found["[vnc] novncproxy_hots"].text)
