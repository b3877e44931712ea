"""The whole way as an operator has it, in a browser."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from tests.e2e.certificates import Issued, issue
from tests.e2e.chromium import canvas_picture, open_page, wait_until
from tests.e2e.programs import novnc_directory, require, temporary_directory
from tests.e2e.vnc_servers import QemuServer
from tests.openstack.cloud import Cell, newest, oldest
from tests.openstack.test_port_check import CloudTestCase

_DEBIAN = "/usr/share/novnc"
_DRAWN = """(() => {
    const canvas = document.querySelector("canvas");
    return canvas !== null && canvas.width >= 640
        && canvas.getContext("2d").getImageData(0, 0, 1, 1).data[3] === 255;
})()"""


class VencryptInChromiumTests(CloudTestCase):
    """URLs made by nova, through MariaDB and RabbitMQ, to a QEMU that speaks VeNCrypt only."""

    def setUp(self) -> None:
        super().setUp()
        require("chromium", f"{_DEBIAN}/vnc_lite.html")
        self.directory = self._directory()
        ca = issue("compute CA", ca=True)
        self._write(ca, "ca-cert.pem", "ca-key.pem")
        self._write(issue("compute", issuer=ca), "server-cert.pem", "server-key.pem")
        self._write(issue("gateway", issuer=ca), "client-cert.pem", "client-key.pem")
        creds = f"tls-creds-x509,id=tls,dir={self.directory},endpoint=server,verify-peer=on"
        self.qemu = QemuServer(",tls-creds=tls", (creds,))
        self.addCleanup(self.qemu.stop)

    def _directory(self) -> Path:
        context = temporary_directory()
        directory = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return directory

    def _write(self, issued: Issued, certificate: str, key: str) -> None:
        issued.write(self.directory / certificate, self.directory / key)

    def open_console(self, cell: Cell, novnc: str, page_path: str) -> str:
        """Start a gateway, and return the URL that nova makes of a machine's console."""
        self.cell = cell
        self.gateway = cell.gateway(
            more=f"[DEFAULT]\nweb = {novnc}\n[vnc]\nauth_schemes = vencrypt,none\n"
            f"vencrypt_ca_certs = {self.directory}/ca-cert.pem\n"
            f"vencrypt_client_cert = {self.directory}/client-cert.pem\n"
            f"vencrypt_client_key = {self.directory}/client-key.pem\n"
        )
        self.addCleanup(self.gateway.stop)
        host = self.compute()
        base = f"{self.gateway.url}{page_path}"
        console = cell.console(host, self.qemu.port, access_url_base=base)
        consoles = {console.uuid: [str(self.qemu.port), "novnc"]}
        cell.nova.do("consoles", host=host, consoles=consoles)
        return console.url

    def assert_shows(self, page: Page, url: str) -> None:
        """Check that the machine's screen is drawn, and told as QEMU's."""
        page.goto(url)
        wait_until(page, _DRAWN)
        self.assertGreaterEqual(canvas_picture(page).size, (640, 400))
        self.gateway.program.wait_for(r"opens: 127.0.0.1 to instance [0-9a-f-]{36}")
        self.assertNotIn("refused", self.gateway.log)

    def test_debians_novnc(self) -> None:
        """NoVNC 1.3, with a URL of the oldest nova's."""
        url = self.open_console(oldest(), _DEBIAN, "/vnc_lite.html")
        with open_page() as page:
            self.assert_shows(page, url)
            self.assertIn("QEMU", page.inner_text("#status"))

    def test_the_newest_novnc(self) -> None:
        """NoVNC of npm, with a URL of the newest nova's, which keeps the base's query."""
        path = "/vnc.html?autoconnect=true"
        url = self.open_console(newest(), str(novnc_directory()), path)
        self.assertIn("autoconnect=true", url)
        with open_page() as page:
            self.assert_shows(page, url)
