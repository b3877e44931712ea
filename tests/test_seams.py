"""Every library raises something else, too: whatever it is becomes an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

from sqlalchemy import create_engine, event
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.compute.harness import ThreadedClock
from tests.e2e.programs import cannot_test
from tests.helpers import grant_for
from vncproxy import check
from vncproxy.compute import inventory_file, qmp
from vncproxy.compute.inventory_file import InventoryFault, parse_inventory
from vncproxy.compute.qmp import QmpDriver
from vncproxy.config.read import ConfigError, read_settings
from vncproxy.config.topics.keystone import OPTIONS, KeystoneAuthtoken
from vncproxy.console_api import keystone, schemas
from vncproxy.console_api.callers import Presented
from vncproxy.console_api.faults import Fault
from vncproxy.console_api.keystone import KeystoneAuthenticator, keystone_session
from vncproxy.console_api.versions import Microversion
from vncproxy.errors import GatewayError, PortCheckUnavailable, StoreUnavailable
from vncproxy.model import Token
from vncproxy.observers import HarmlessMeasures
from vncproxy.openstack.cell_tables import cell_mappings, find_instance, oldest_compute
from vncproxy.openstack.oslo_bus import OsloBus
from vncproxy.tokens.table import TokenTable
from vncproxy.tokens.uses import TokenUses

_SECRET = "s3cret"


def broken(*_: object, **__: object) -> NoReturn:
    """Raise what no library announces, with a secret in it."""
    raise RuntimeError(f"broken, says nova:{_SECRET}@db")


class DatabaseTests(SynchronousTestCase):
    def test_every_question(self) -> None:
        """The store, its uses and the cells' tables are unavailable, with the driver's own word."""
        engine = create_engine(f"mysql+pymysql://nova:{_SECRET}@db/nova")
        event.listen(engine, "do_connect", broken)
        table, uses = TokenTable(engine, lambda: 0), TokenUses(engine, lambda: 0, True, 0)
        grant = grant_for(Token.new())
        questions: list[tuple[type[GatewayError], Callable[[], object]]] = [
            (StoreUnavailable, table.check),
            (StoreUnavailable, table.create),
            (StoreUnavailable, table.live),
            (StoreUnavailable, lambda: table.find(Token.new())),
            (StoreUnavailable, lambda: table.standing(["x"])),
            (StoreUnavailable, uses.ready),
            (StoreUnavailable, lambda: uses.use(grant, "client", None, "new")),
            (StoreUnavailable, lambda: cell_mappings(engine)),
            (PortCheckUnavailable, lambda: find_instance(engine, "uuid")),
            (PortCheckUnavailable, lambda: oldest_compute(engine)),
        ]
        for error, ask in questions:
            with self.assertRaises(error) as caught:
                ask()
            said = str(caught.exception)
            self.assertTrue(said.endswith("failed: RuntimeError: broken, says nova:***@db"), said)


class CheckTests(SynchronousTestCase):
    def test_each_finding(self) -> None:
        """One that can't be made is a finding, too, and hurts no other."""
        configuration = Path(self.mktemp())
        state = Path(self.mktemp()).absolute()
        configuration.write_text(f"[vncproxy]\nstate_path = {state}\n")
        settings = read_settings([f"--config-file={configuration}"], "test")
        whole = {finding.subject for finding in check.check(settings)}
        for name, subject in (
            ("trusted_items", "balancers"),
            ("console_listener", "novnc listener"),
            ("methods_of", "VNC servers"),
            ("TargetRules", "targets"),
            ("open_database", "database"),
            ("try_port_check", "port check"),
            ("most_descriptors", "limits"),
            ("library_for", "pages"),
            ("ask_once", "servers"),
            ("_certificates", "certificate"),
            ("_listeners", "listeners"),
            ("_wide_sockets", "sockets"),
            ("_exposures", "state_path"),
        ):
            usual = getattr(check, name)
            setattr(check, name, broken)
            try:
                found = {finding.subject: finding for finding in check.check(settings)}
            finally:
                setattr(check, name, usual)
            self.assertFalse(found[subject].ok)
            self.assertIn("RuntimeError: broken", found[subject].text)
            self.assertLessEqual(whole - {subject, "novnc listener", "noVNC"}, set(found))


class FileTests(SynchronousTestCase):
    def test_yaml(self) -> None:
        """The inventory can't be used; its text is not repeated."""
        self.patch(inventory_file._Loader, "get_single_node", broken)
        with self.assertRaises(InventoryFault) as caught:
            parse_inventory("servers: []\n")
        self.assertEqual(str(caught.exception), "line 1: this can't be read: RuntimeError")

    def test_defusedxml(self) -> None:
        """The domain can't be read."""
        try:
            from vncproxy.compute import domain_xml
        except ImportError:
            cannot_test("not installed: defusedxml")
        self.patch(domain_xml, "fromstring", broken)
        with self.assertRaises(domain_xml.DomainXmlFault) as caught:
            domain_xml.parse_domain("<domain/>")
        self.assertEqual(str(caught.exception), "its XML can't be read: RuntimeError")


class HostTests(TestCase):
    async def test_libvirt(self) -> None:
        """The host fails, and the others answer; in each of its calls."""
        try:
            import libvirt

            from vncproxy.compute.libvirt import LibvirtDriver, libvirt_hosts
        except ImportError:
            cannot_test("not installed: libvirt-python")
        driver = LibvirtDriver(libvirt_hosts(["test:///default"], {}, False, ThreadedClock(), 5))  # type: ignore[arg-type]
        self.addCleanup(driver.stop)
        self.assertEqual((await driver.list_servers()).faults, ())
        virConnect = libvirt.virConnect  # noqa: N806  libvirt's name
        for method in ("listAllDomains", "isAlive"):
            self.patch(virConnect, method, broken)
        self.patch(libvirt, "openReadOnly", broken)
        (fault,) = (await driver.list_servers()).faults
        self.assertIn("RuntimeError: broken", fault.reason)

    async def test_qmp(self) -> None:
        """The monitor fails."""
        self.patch(qmp, "connectProtocol", broken)
        socket = Path(self.mktemp()).absolute()
        socket.touch()
        (fault,) = (await QmpDriver([str(socket)], Clock(), 5).list_servers()).faults
        self.assertIn("RuntimeError: broken", fault.reason)


class KeystoneTests(TestCase):
    def authenticator(self, get: Callable[..., object]) -> KeystoneAuthenticator:
        """Return one whose session answers so."""

        class Session:
            def get(self, *_: object, **__: object) -> object:
                return get()

        return KeystoneAuthenticator(cast(Any, Session()), cast(Any, ThreadedClock()))

    async def test_questions(self) -> None:
        """Keystone can't be asked: by a library's fault, or by an answer of another shape."""
        logged = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

        class Odd:
            def json(self) -> object:
                return {"token": {"roles": [{"name": 7}]}}

        for get in (broken, Odd):
            authenticator = self.authenticator(get)
            with self.assertRaises(Fault) as caught:
                await authenticator.caller_of(Presented(_SECRET))
            self.assertEqual(caught.exception.status, 503)
        reasons = [str(event["reason"]) for event in logged if "reason" in event]
        self.assertEqual(len(reasons), 2)
        self.assertNotIn(_SECRET, str(reasons))

    def test_its_log_in(self) -> None:
        """It can't be configured so; the password is not repeated."""
        values = {option.dest: option.default for option in OPTIONS}
        values |= {"auth_url": "http://127.0.0.1:1/v3", "password": _SECRET}
        self.patch(keystone, "get_plugin_loader", broken)
        with self.assertRaises(ConfigError) as caught:
            keystone_session(KeystoneAuthtoken(**values))
        self.assertIn("RuntimeError: broken, says nova:***@db", str(caught.exception))


class MessagingTests(SynchronousTestCase):
    url = f"rabbit://nova:{_SECRET}@127.0.0.1:1/"

    def test_a_bus_that_can_t_be_made(self) -> None:
        """The port check is unavailable; the URL's password is not repeated."""
        import oslo_messaging

        for name in ("get_rpc_transport", "get_rpc_client", "TransportOptions"):
            usual = getattr(oslo_messaging, name)
            setattr(oslo_messaging, name, broken)
            try:
                with self.assertRaises(PortCheckUnavailable) as caught:
                    OsloBus((), self.url, 5)
            finally:
                setattr(oslo_messaging, name, usual)
            self.assertNotIn(_SECRET, str(caught.exception))

    def test_a_bus_that_breaks(self) -> None:
        """The same while it is asked, and when it is closed."""
        bus = OsloBus((), self.url, 5)
        self.addCleanup(bus._transport.cleanup)
        self.patch(bus._client, "prepare", broken)
        for call in (bus.reach, lambda: bus.ask("compute", "6.0", cast(Any, None))):
            with self.assertRaises(Exception) as caught:
                call()
            self.assertNotIn(_SECRET, str(caught.exception))
        self.assertRaises(PortCheckUnavailable, bus.reach)
        self.patch(bus._transport, "cleanup", broken)
        self.assertRaises(PortCheckUnavailable, bus.close)


class OtherTests(SynchronousTestCase):
    def test_jsonschema(self) -> None:
        """A body that can't be checked is refused, with the reason for the operator."""
        self.patch(schemas, "best_match", broken)
        with self.assertRaises(Fault) as caught:
            schemas.remote_console_in({}, Microversion(2, 6))
        self.assertEqual(caught.exception.status, 500)
        self.assertIn("RuntimeError: broken", caught.exception.for_operator)

    def test_prometheus(self) -> None:
        """A measurement that can't be taken hurts nobody, and is told."""
        logged = EventLoggingObserver.createWithCleanup(cast(Any, self), globalLogPublisher)

        class Broken:
            took = called = staticmethod(broken)

        measures = HarmlessMeasures(Broken())
        measures.took("all", 1.0)
        measures.called("database", 1.0, True)
        self.assertEqual(len([event for event in logged if "is lost" in event["log_format"]]), 2)
