"""What drivers are asked for, whatever the URL says, and what is told of their faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pymysql.err import OperationalError
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.dialects import plugins
from sqlalchemy.engine import CreateEnginePlugin
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.config.read import ConfigError, read_settings
from vncproxy.errors import PortCheckUnavailable, StoreUnavailable
from vncproxy.tokens.driver import connect_arguments, wait_for_galera
from vncproxy.tokens.engine import open_database
from vncproxy.tokens.faults import secrets_in, shown, told_as


class UrlTests(SynchronousTestCase):
    def refusal(self, url: str) -> str:
        """Return what is said of a configured URL that can't be used."""
        path = Path(self.mktemp())
        path.write_text(f"[database]\nconnection = {url}\n")
        with self.assertRaises(ConfigError) as caught:
            open_database(read_settings([f"--config-file={path}"], "test"))
        self.assertNotIn("s3cret", str(caught.exception))
        return str(caught.exception)

    def test_a_plugin_that_is_missing(self) -> None:
        """Is named, unless it only counts; nobody knows what the others do for the connection."""
        said = self.refusal("mysql+pymysql://nova:s3cret@db/nova?plugin=dbcounter&plugin=vault")
        self.assertIn("[database] connection: the SQLAlchemy plugin vault is not installed", said)

    def test_a_plugin_that_is_there(self) -> None:
        """Is used, also beside one that is left out."""
        made: list[str] = []

        class Witness(CreateEnginePlugin):
            def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
                made.append(str(url.database))

            def update_url(self, url: URL) -> URL:
                return url

        plugins.impls["witness"] = lambda: Witness
        self.addCleanup(plugins.impls.pop, "witness")
        path = Path(self.mktemp())
        query = "plugin=dbcounter&plugin=witness"
        path.write_text(f"[database]\nconnection = mysql://nova:pw@db/nova?{query}\n")
        engine = open_database(read_settings([f"--config-file={path}"], "test"))
        self.addCleanup(engine.dispose)
        self.assertEqual(made, ["nova"])

    def test_prepared_statements(self) -> None:
        """By psycopg: it prepares none, unless the URL says after how many uses."""
        for query, expected in (("", None), ("?prepare_threshold=None", None), ("?a=b", None)):
            given = connect_arguments(make_url(f"postgresql+psycopg://db/nova{query}"), 5)
            self.assertIs(given["prepare_threshold"], expected)
        given = connect_arguments(make_url("postgresql+psycopg://db/?prepare_threshold=7"), 5)
        self.assertEqual(given["prepare_threshold"], 7)
        self.assertNotIn("options", given)  # which a pooler refuses
        said = self.refusal("postgresql+psycopg://nova:s3cret@db/nova?prepare_threshold=often")
        self.assertIn("prepare_threshold must be a number", said)

    def test_secrets(self) -> None:
        """Passwords may stand in the query, too; none of them is shown."""
        url = make_url("mysql+pymysql://nova:p%40ss@db/nova?ssl_key_password=k3y&charset=utf8")
        self.assertEqual(secrets_in(url), ["p@ss", "k3y"])
        self.assertEqual(
            shown(url), "mysql+pymysql://nova:***@db/nova?charset=utf8&ssl_key_password=hidden"
        )


class GaleraTests(SynchronousTestCase):
    def test_a_server_without_it(self) -> None:
        """MySQL knows no such variable: told so, with the option's name."""

        class Plain:
            """A connection to MySQL, and its cursor."""

            def cursor(self) -> Plain:
                return self

            def execute(self, statement: str, _values: object = None) -> None:
                raise OperationalError(1193, f"Unknown system variable in {statement}")

            def close(self) -> None:
                pass

        engine = create_engine("mysql+pymysql://nova:pw@db/nova")
        with (
            self.assertRaises(StoreUnavailable) as caught,
            told_as(PortCheckUnavailable, "the cell's database", engine),
        ):
            wait_for_galera(Plain(), 1)
        self.assertEqual(
            str(caught.exception),
            "mysql_wsrep_sync_wait is set, but this server has no Galera; unset it",
        )
