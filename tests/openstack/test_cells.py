"""The cells' databases: MariaDB and PostgreSQL, with schemas and tokens made by nova itself."""

from __future__ import annotations

import signal
from uuid import uuid4

from tests.e2e import mariadb
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.programs import becomes_true, free_port
from tests.openstack.cloud import Console, newest, oldest
from tests.openstack.postgresql import PostgreSql
from tests.openstack.test_port_check import CloudTestCase

_CAN_T_CHECK = "can't check console links now"


class DatabaseTests(CloudTestCase):
    """The database of one cell, in the ways in which operators have it."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = newest()
        self.server = mariadb.shared_server()

    def open_gateway(self, database_url: str, more: str = "") -> None:
        more = f"[database]\nconnection = {database_url}\n{more}"
        self.gateway = self.cell.gateway({"database_timeout": 2}, more)
        self.addCleanup(self.gateway.stop)

    def test_only_reads(self) -> None:
        """An account that may read three tables is enough, and nothing but reads is tried."""
        grants = "".join(
            f"GRANT SELECT ON {self.cell.database}.{table} TO reader@localhost;"
            for table in ("console_auth_tokens", "instances", "services")
        )
        self.server.run(f"CREATE USER reader@localhost IDENTIFIED BY 'r3ad'; {grants}")
        self.addCleanup(self.server.run, "DROP USER reader@localhost")
        self.open_gateway(self.server.url_of(self.cell.database, "reader:r3ad"))
        self.server.run("TRUNCATE mysql.general_log; SET GLOBAL log_output = 'TABLE'")
        self.server.run("SET GLOBAL general_log = 1")
        self.addCleanup(self.server.run, "SET GLOBAL general_log = 0")
        self.assert_opens(self.running_console(self.compute()))
        statements = self.server.run(
            "SELECT argument FROM mysql.general_log WHERE user_host LIKE 'reader%' "
            "AND command_type IN ('Query', 'Execute')"
        ).splitlines()
        self.assertTrue(any("console_auth_tokens" in statement for statement in statements))
        self.assertTrue(any("instances" in statement for statement in statements))
        for statement in statements:
            self.assertRegex(statement, r"^(SELECT|SHOW|DESCRIBE|SET|COMMIT|ROLLBACK)\b")

    def test_tls(self) -> None:
        """ssl_ca in the URL's query: the server's certificate and its name are verified."""
        self.server.run("CREATE USER tls@'127.0.0.1' IDENTIFIED BY 'pw' REQUIRE SSL")
        self.addCleanup(self.server.run, "DROP USER tls@'127.0.0.1'")
        self.server.run(f"GRANT SELECT ON {self.cell.database}.* TO tls@'127.0.0.1'")
        url = f"mysql+pymysql://tls:pw@127.0.0.1:{self.server.port}/{self.cell.database}"
        self.open_gateway(f"{url}?charset=utf8&ssl_ca={self.server.ca_file}")
        console = self.running_console(self.compute())
        self.assert_opens(console)
        strange = "connection_parameters = ssl_ca=/etc/ssl/certs/ca-certificates.crt\n"
        self.open_gateway(url, strange)
        self.assert_refused(console, _CAN_T_CHECK, "store-unavailable .*CERTIFICATE_VERIFY")

    def test_an_older_driver_name(self) -> None:
        """mysql:// without a driver is what old nova.conf files have."""
        self.open_gateway(self.cell.database_url.replace("mysql+pymysql", "mysql"))
        self.assert_opens(self.running_console(self.compute()))

    def test_faults(self) -> None:
        """A wrong password, no such database, and no server: told, and no secret shown."""
        console = self.cell.console("cmp", self.target.port)
        url = self.cell.database_url
        for broken, log in (
            (url.replace("hunter2", "s3cret"), "Access denied"),
            (url.replace("/nova_newest", "/nova_none"), "Unknown database|Access denied"),
            (f"mysql+pymysql://nova:s3cret@127.0.0.1:{free_port()}/nova", "Can't connect"),
        ):
            self.open_gateway(broken)
            self.assert_refused(console, _CAN_T_CHECK, f"store-unavailable .*({log})")
            self.assertNotIn("s3cret", self.gateway.log)
            self.assertNotIn("Traceback", self.gateway.log)
            self.gateway.stop()

    def test_a_database_that_hangs(self) -> None:
        """Whoever asks is told in time, and all is well when it goes on."""
        self.open_gateway(self.cell.database_url)
        console = self.running_console(self.compute())
        self.assert_opens(console)
        self.server.signal(signal.SIGSTOP)
        self.addCleanup(self.server.signal, signal.SIGCONT)
        self.assert_refused(console, _CAN_T_CHECK, "store-unavailable .*did not answer in 2 s")
        self.server.signal(signal.SIGCONT)
        self.assertTrue(becomes_true(lambda: opens(self.url(console))))

    def test_postgresql(self) -> None:
        """Nova's tables on PostgreSQL, by the driver of the extra."""
        self.cell = oldest()  # whose Python has the driver that nova wants
        server = PostgreSql()
        self.addCleanup(server.remove)
        self.cell.nova.do("schema", database_url=server.url_of("postgres"))
        self.addCleanup(self.cell.nova.do, "use", database_url=self.cell.database_url)
        self.open_gateway(server.url_of("postgres"), "connection_parameters = sslmode=disable\n")
        host = self.compute()
        console = self.running_console(host)
        self.assert_opens(console)
        self.cell.nova.do("destroy", uuid=console.uuid)
        self.assert_refused(console, "has expired", "token-invalid")


class BadRowsTests(CloudTestCase):
    """Tokens and rows that nova would not write, or that a stranger sends."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = newest()
        self.gateway = self.cell.shared_gateway()
        self.host = self.compute()

    def changed(self, **columns: object) -> Console:
        """Return a console whose token's row was changed."""
        console = self.running_console(self.host)
        settings = ", ".join(f"{name} = {value}" for name, value in columns.items())
        self.cell.sql(
            f"UPDATE console_auth_tokens SET {settings} WHERE instance_uuid = '{console.uuid}'"
        )
        return console

    def test_rows(self) -> None:
        """Each is refused for what is wrong with it, or opens."""
        port_0 = self.changed(port=0)
        self.assert_refused(port_0, "expired", "port-check-failed")
        self.assert_opens(self.changed(internal_access_path="NULL"))
        self.assert_opens(self.changed(internal_access_path="''", tls_port=5))
        no_base = self.changed(access_url_base="NULL")
        with self.assertRaisesRegex(Exception, "403"):
            ScriptedBrowser(self.url(no_base))
        other = self.changed(console_type="'spice-html5'")
        self.assert_refused(other, "another kind of console", "wrong-console-type")
        self.assert_opens(self.changed(host="'::ffff:127.0.0.1'"))
        expired = self.changed(expires="unix_timestamp()")
        self.assert_refused(expired, "expired", "token-expired")
        strange = self.changed(host="'a host that does not resolve'")
        with ScriptedBrowser(self.url(strange)) as browser:
            self.assertIn("cannot be reached", browser.read_refusal())
        self.gateway.program.wait_for("target-unreachable .*no such host")

    def test_tokens(self) -> None:
        """Text of any kind is hashed and not found; none of it is logged."""
        base = f"{self.gateway.url}/vnc_lite.html?path=%3Ftoken%3D"
        for text in (
            "%25F0%259F%2598%2580",
            "%2500",
            "a%2500b",
            "'%3B--",
            "%25ff%25fe",
            "x" * 9000,
        ):
            with ScriptedBrowser(base + text) as browser:
                self.assertIn("expired", browser.read_refusal())
        self.assertNotIn("x" * 20, self.gateway.log)
        with self.assertRaisesRegex(Exception, "HTTP|closed|reset|EOF"):
            ScriptedBrowser(base + "y" * 1_000_000)
        self.assertNotIn("Traceback", self.gateway.log)


class AllCellsTests(CloudTestCase):
    """One gateway for every cell of the API database."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = oldest()
        self.server = mariadb.shared_server()

    def open_gateway(self, *cells: tuple[str, str, str]) -> None:
        """Start one that serves the oldest's cell, and maps these (name, bus, database)."""
        name = f"nova_api_{uuid4().hex[:8]}"
        self.server.run(f"CREATE DATABASE {name} CHARACTER SET utf8")
        api_url = self.server.url_of(name)
        self.cell.nova.do("api_schema", database_url=api_url)
        for name, bus, database in cells:
            self.cell.nova.do(
                "cell", name=name, uuid=str(uuid4()), transport_url=bus, database_url=database
            )
        more = f"[api_database]\nconnection = {api_url}\n"
        self.gateway = self.cell.gateway({"database_timeout": 2}, more)
        self.addCleanup(self.gateway.stop)
        if cells:
            self.gateway.program.wait_for(f"cell {cells[-1][0]} .*is served")

    def test_every_cell(self) -> None:
        """Tokens of all open; each is checked on its own cell's bus."""
        other = newest()
        template = "{scheme}://{username}:{password}@{hostname}/nova_newest?{query}"
        self.open_gateway(
            ("old", self.cell.bus.url, self.cell.database_url), ("new", other.bus.url, template)
        )
        self.assert_opens(self.running_console(self.compute()))
        self.cell = other
        console = self.running_console(self.compute())
        self.assert_opens(console)
        unknown = Console("", "", f"{self.gateway.url}/vnc_lite.html?path=%3Ftoken%3Dnone")
        self.assert_refused(unknown, "has expired", "token-invalid .*in 2 cells")

    def test_an_outage_of_one_cell(self) -> None:
        """The others' consoles open; of an unknown token nobody can tell."""
        dead = f"mysql+pymysql://nova:s3cret@127.0.0.1:{free_port()}/nova"
        bus = "rabbit://nova:s3cret@127.0.0.1:1/"
        self.open_gateway(("dead", bus, dead), ("alive", newest().bus.url, newest().database_url))
        self.assert_opens(self.running_console(self.compute()))
        self.cell = newest()
        self.assert_opens(self.running_console(self.compute()))
        unknown = Console("", "", f"{self.gateway.url}/vnc_lite.html?path=%3Ftoken%3Dnone")
        self.assert_refused(unknown, _CAN_T_CHECK, "store-unavailable .*cell dead .*: ")
        self.assertNotIn("s3cret", self.gateway.log)

    def test_a_cell_that_can_t_be_served(self) -> None:
        """Is named in the log, with the reason; its tokens can't be checked, the others' open."""
        self.open_gateway()
        vault = f"{newest().database_url}&plugin=vault"
        for name, url in (("odd", "what"), ("special", vault)):
            cell = {"name": name, "transport_url": "none:///", "database_url": url}
            self.cell.nova.do("cell", uuid=str(uuid4()), **cell)
        self.gateway.program.stop()
        self.gateway.start()
        self.gateway.program.wait_for("cell odd .* is not served: .*not an SQLAlchemy URL")
        self.gateway.program.wait_for("cell special .* is not served: .*plugin vault is not inst")
        self.assertNotIn("hunter2", self.gateway.log)
        self.assert_opens(self.running_console(self.compute()))
        self.cell = newest()
        console = self.running_console(self.compute())
        self.assert_refused(console, _CAN_T_CHECK, "store-unavailable .*is not served")

    def test_no_api_database(self) -> None:
        """Our own cell is served all the same; unknown tokens can't be told from others'."""
        more = f"[api_database]\nconnection = mysql://a:s3cret@127.0.0.1:{free_port()}/nova_api\n"
        self.gateway = self.cell.gateway(more=more)
        self.addCleanup(self.gateway.stop)
        self.assert_opens(self.running_console(self.compute()))
        unknown = Console("", "", f"{self.gateway.url}/vnc_lite.html?path=%3Ftoken%3Dnone")
        self.assert_refused(unknown, _CAN_T_CHECK, "store-unavailable .*API database")
        self.assertNotIn("s3cret", self.gateway.log)


def opens(url: str) -> bool:
    """Whether the console opens now."""
    with ScriptedBrowser(url) as browser:
        browser.write_version()
        return browser.read(1) == b"\x01"
