"""Reading the configuration: what follows from it, and the one line for each mistake."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vncproxy.config.read import ConfigError, read_settings
from vncproxy.config.settings import Settings


class ReadTestCase(SynchronousTestCase):
    def file(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path.absolute())

    def read(self, text: str = "", *flags: str) -> Settings:
        return read_settings(["--config-file", self.file(text), *flags], "twistd vncproxy")


class SettingsTests(ReadTestCase):
    def test_the_embedded_default(self) -> None:
        """Without a database of nova's: SQLite, and a listener on loopback only."""
        settings = self.read("[vncproxy]\nstate_path = /var/lib/vncproxy\n")
        self.assertTrue(settings.keeps_tokens)
        self.assertEqual(settings.database_url, "sqlite:////var/lib/vncproxy/vncproxy.sqlite")
        self.assertEqual(settings.listeners, ("tcp:6080:interface=127.0.0.1",))
        self.assertEqual(settings.purge_interval_s, 300)

    def test_with_novas_database(self) -> None:
        """With [database] connection: nova's defaults, and no purge, which nova does itself."""
        settings = self.read("[database]\nconnection = mysql+pymysql://nova:s3cret@db/nova\n")
        self.assertEqual(settings.listeners, ("tcp:6080:interface=0.0.0.0",))
        self.assertEqual(settings.purge_interval_s, 0)
        self.assertEqual(settings.vnc.novncproxy_base_url, "http://127.0.0.1:6080/vnc_auto.html")
        self.assertNotIn("s3cret", repr(settings))

    def test_the_base_url_follows_the_port(self) -> None:
        """The embedded default's URLs name the port it listens on."""
        settings = self.read("", "--vnc-novncproxy_port", "7000")
        self.assertEqual(settings.vnc.novncproxy_base_url, "http://127.0.0.1:7000/console")

    def test_a_certificate_means_tls(self) -> None:
        """When the file of [DEFAULT] cert exists, the listener speaks TLS."""
        cert = self.file("a certificate")
        settings = self.read(f"[DEFAULT]\ncert = {cert}\n")
        self.assertEqual(settings.listeners, ("https:tcp:6080:interface=127.0.0.1",))
        self.assertTrue(settings.vnc.novncproxy_base_url.startswith("https:"))

    def test_certificates_of_our_own_option_mean_tls(self) -> None:
        """So do those of tls_certificates, also on an IPv6 address; the PROXY header is first."""
        settings = self.read(
            "[vncproxy]\ntls_certificates = /etc/pki/vncproxy\nproxy_protocol = true\n"
            "[vnc]\nnovncproxy_host = ::\n"
        )
        self.assertEqual(settings.listeners, (r"haproxy:https:tcp6:6080:interface=\:\:",))
        self.assertTrue(settings.vnc.novncproxy_base_url.startswith("https:"))

    def test_an_ipv6_address(self) -> None:
        """An IPv6 address is listened on as one."""
        settings = self.read("[vnc]\nnovncproxy_host = ::1\n")
        self.assertEqual(settings.listeners, (r"tcp6:6080:interface=\:\:1",))

    def test_listen_takes_the_place_of_host_and_port(self) -> None:
        """Endpoint strings are used as they stand, each line one."""
        settings = self.read("[vncproxy]\nlisten = unix:/run/a.sock\nlisten = tcp:1\n")
        self.assertEqual(settings.listeners, ("unix:/run/a.sock", "tcp:1"))

    def test_later_files_win(self) -> None:
        """Of two files that set an option the later one is followed."""
        second = self.file("[vnc]\nnovncproxy_port = 2\n")
        settings = self.read("[vnc]\nnovncproxy_port = 1\n", "--config-file", second)
        self.assertEqual(settings.vnc.novncproxy_port, 2)

    def test_a_directory_of_files(self) -> None:
        """--config-dir reads all *.conf of a directory."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "10.conf").write_text("[vnc]\nnovncproxy_port = 10\n")
        settings = read_settings(["--config-dir", str(directory)], "twistd vncproxy")
        self.assertEqual(settings.vnc.novncproxy_port, 10)

    def test_deprecated_names(self) -> None:
        """Nova's old names of its options still work."""
        settings = self.read("[DEFAULT]\nnovncproxy_port = 1\nconsole_allowed_origins = a, b\n")
        self.assertEqual(settings.vnc.novncproxy_port, 1)
        self.assertEqual(settings.console.allowed_origins, ("a", "b"))

    def test_novas_other_options_are_passed_over(self) -> None:
        """A nova.conf is full of options that are not ours."""
        self.read("[DEFAULT]\ncompute_driver = libvirt\n[libvirt]\nvirt_type = kvm\n")

    def test_workers(self) -> None:
        """A number, or one for each processor that we may use."""
        self.assertEqual(self.read().processes.workers, 1)
        self.assertEqual(self.read("[vncproxy]\nworkers = 3\n").processes.workers, 3)
        settings = self.read("", "--vncproxy-workers=auto")
        self.assertEqual(settings.processes.workers, len(os.sched_getaffinity(0)))


class MistakeTests(ReadTestCase):
    def fault(self, text: str, *flags: str) -> str:
        with self.assertRaises(ConfigError) as caught:
            self.read(text, *flags)
        fault = str(caught.exception)
        self.assertNotIn("\n", fault)
        return fault

    def test_a_bad_value_in_a_file(self) -> None:
        """The line names the file, the group and the option."""
        fault = self.fault("[vnc]\nnovncproxy_port = many\n")
        self.assertRegex(fault, r"^/.*: \[vnc\] novncproxy_port: .*'many'")

    def test_a_bad_value_of_a_flag(self) -> None:
        """The line names the option."""
        fault = self.fault("", "--vnc-novncproxy_port", "many")
        self.assertRegex(fault, r"^\[vnc\] novncproxy_port: .*'many'")

    def test_a_misspelt_option(self) -> None:
        """An unknown option in our own group is an error, with the likely name."""
        fault = self.fault("[vncproxy]\nlissen = tcp:1\n")
        self.assertTrue(fault.endswith("[vncproxy] lissen: no such option; did you mean listen?"))

    def test_an_unknown_flag(self) -> None:
        """The line names the flag and where to find the right one."""
        self.assertEqual(
            self.fault("", "--listen-on", "1"),
            "unrecognized arguments: --listen-on 1; `twistd vncproxy --help` lists the options",
        )

    def test_a_missing_file(self) -> None:
        """The line names the file."""
        fault = self.fault("", "--config-file", "/nowhere/vncproxy.conf")
        self.assertEqual(fault, "/nowhere/vncproxy.conf: no such file; check --config-file")

    def test_a_missing_directory(self) -> None:
        """The line names the directory."""
        self.assertIn("/nowhere: no such directory", self.fault("", "--config-dir", "/nowhere"))

    def test_a_file_that_is_no_ini_file(self) -> None:
        """The line names file and line."""
        self.assertRegex(self.fault("port = 1\n"), r"/.*:1, Section must be started")

    def test_an_unknown_scheme(self) -> None:
        """A list with a value that is none of the choices is refused."""
        self.assertIn("[vnc] auth_schemes", self.fault("[vnc]\nauth_schemes = magic\n"))

    def test_a_dollar_in_a_password(self) -> None:
        """An unknown $name is an error that says how to write a plain dollar, without the value."""
        fault = self.fault("[database]\nconnection = mysql://nova:se$cret@db/nova\n")
        self.assertIn("[database] connection", fault)
        self.assertIn("write $$", fault)
        self.assertNotIn("nova:se", fault)

    def test_tls_only_without_a_certificate(self) -> None:
        """ssl_only with no certificate file is refused, in nova's words."""
        fault = self.fault("[DEFAULT]\nssl_only = True\ncert = /nowhere.pem\n")
        self.assertIn("SSL only and /nowhere.pem not found", fault)

    def test_a_missing_web_directory(self) -> None:
        """A web directory that is not there is refused, in nova's words."""
        fault = self.fault("[DEFAULT]\nweb = /nowhere\n")
        self.assertIn("Can not find html/js files at /nowhere.", fault)

    def test_no_number_of_workers(self) -> None:
        """The line says what can be given."""
        for value in ("0", "-1", "many", "1.5", "257"):
            self.assertIn(
                "[vncproxy] workers: give a number of processes from 1 to 256, or auto",
                self.fault(f"[vncproxy]\nworkers = {value}\n"),
            )
