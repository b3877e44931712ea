"""The port check: nova's own tokens, and computes of nova's own code on a real message bus."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import Gateway, becomes_true
from tests.openstack.cloud import Cell, Console, newest, oldest
from tests.openstack.late_confirmations import LateConfirmations
from tests.openstack.rabbitmq import RabbitMq
from vncproxy.config.read import CommandLine, ConfigError
from vncproxy.openstack.bus import NobodyListens, Question
from vncproxy.openstack.cell_tables import Instance
from vncproxy.openstack.oslo_bus import OsloBus
from vncproxy.service import build

_NEW_LINK = "not valid or has expired"
_CAN_T_ASK = "can't ask the machine's host now"


class CloudTestCase(SynchronousTestCase):
    """A cell with a gateway, a target, and computes that stop with the test."""

    cell: Cell
    gateway: Gateway

    def setUp(self) -> None:
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)

    def compute(self, *topics: str, **changes: object) -> str:
        """Start a compute that listens on these topics; return its host."""
        host = f"cmp-{uuid4().hex[:8]}"
        self.cell.nova.do("compute", host=host, topics=topics or ("compute",), **changes)
        self.addCleanup(self.cell.nova.do, "stop_compute", host=host)
        return host

    def has(self, host: str, console: Console, fault: str = "") -> None:
        """Let a compute's hypervisor have the machine's console at the target's port."""
        consoles = {console.uuid: [str(self.target.port), "novnc"]}
        self.cell.nova.do("consoles", host=host, consoles=consoles, fault=fault)

    def running_console(self, host: str) -> Console:
        """Return the console of a machine that runs on a compute."""
        console = self.cell.console(host, self.target.port)
        self.has(host, console)
        return console

    def url(self, console: Console) -> str:
        """Return the URL that nova made, at the gateway's port."""
        return console.url.replace("//127.0.0.1:6080/", f"//127.0.0.1:{self.gateway.port}/")

    def assert_opens(self, console: Console) -> None:
        with ScriptedBrowser(self.url(console)) as browser:
            self.assertEqual(browser.open_console(), fake_targets.SERVER_INIT)

    def assert_refused(self, console: Console, words: str, log: str) -> None:
        """Check what the user reads, and what the log says."""
        with ScriptedBrowser(self.url(console)) as browser:
            reason = browser.read_refusal()
        self.assertIn(words, reason)
        request_id = reason.rpartition("(")[2].rstrip(")")
        self.gateway.program.wait_for(f"{request_id} refused: .*{log}")
        if console.token:
            self.assertNotIn(console.token, self.gateway.log)


class OldestTests(CloudTestCase):
    """With the database and the computes of the oldest release."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = self.open_cell()
        self.gateway = self.cell.shared_gateway()

    def open_cell(self) -> Cell:
        return oldest()

    def test_a_console(self) -> None:
        """Opens when its compute, asked in nova's own form, says that the port is its."""
        host = self.compute()
        console = self.running_console(host)
        self.assert_opens(console)
        (asked,) = self.cell.nova.do("asked", host=host)
        self.assertEqual(asked["uuid"], console.uuid)
        self.assertIsInstance(asked["id"], int)
        self.assertEqual((asked["port"], asked["type"]), (str(self.target.port), "novnc"))

    def test_the_second_topic(self) -> None:
        """A compute that shuts down gracefully listens on its second topic only."""
        self.assert_opens(self.running_console(self.compute("compute-alt")))

    def test_both_topics(self) -> None:
        """A compute is asked once, not once a topic: ironic's consoles mind."""
        host = self.compute("compute", "compute-alt")
        console = self.running_console(host)
        self.assert_opens(console)
        self.assert_opens(console)
        self.assertEqual(len(self.cell.nova.do("asked", host=host)), 2)

    def test_a_reused_port(self) -> None:
        """A token of a machine whose port was given to another tenant's opens nothing."""
        host = self.compute()
        mine = self.running_console(host)
        self.assert_opens(mine)
        theirs = self.cell.console(host, self.target.port)
        self.has(host, theirs)  # mine was shut off, theirs was started, at the same port
        opened = self.target.connections
        self.assert_refused(mine, _NEW_LINK, "port-check-failed .*the port is not its console's")
        self.assertEqual(self.target.connections, opened)
        self.assert_opens(theirs)

    def test_a_deleted_machine(self) -> None:
        """Nova deletes its tokens; one that is left, by a race, opens nothing either."""
        host = self.compute()
        console = self.running_console(host)
        self.cell.sql(f"UPDATE instances SET deleted = id WHERE uuid = '{console.uuid}'")
        self.assert_refused(console, _NEW_LINK, f"instance-gone .*{console.uuid}")
        self.cell.sql(f"UPDATE instances SET deleted = 0 WHERE uuid = '{console.uuid}'")
        self.cell.nova.do("destroy", uuid=console.uuid)
        self.assert_refused(console, _NEW_LINK, "token-invalid")
        self.assertEqual(self.cell.nova.do("asked", host=host), [])

    def test_a_machine_without_a_host(self) -> None:
        """Nobody can be asked, so it is refused."""
        console = self.cell.console(None, self.target.port)
        self.assert_refused(console, _CAN_T_ASK, f"{console.uuid} is on no host")

    def test_a_compute_that_is_down(self) -> None:
        """The refusal comes at once, and not after a minute."""
        console = self.cell.console("no-such-compute", self.target.port)
        self.assert_refused(console, _CAN_T_ASK, "no nova-compute listens .* no-such-compute")

    def test_a_broker_that_confirms_late(self) -> None:
        """No question takes the confirmation, or the return, of another for its own."""
        relay = LateConfirmations(self.cell.bus.port)
        self.addCleanup(relay.stop)
        url = self.cell.bus.url.replace(f":{self.cell.bus.port}", f":{relay.port}")
        bus = OsloBus([], url, timeout_s=2)
        self.addCleanup(bus.close)
        question = Question(Instance(str(uuid4()), "no-such-compute", {}), 5900, "novnc")
        for topic in ("compute", "compute-alt", "compute"):
            with self.assertRaises(NobodyListens):
                bus.ask(topic, "5.0", question)

    def test_what_computes_answer(self) -> None:
        """Whatever is not yes is no, each with its reason in the log."""
        host = self.compute()
        console = self.running_console(host)
        for fault, words, log in (
            ("InstanceNotFound", _NEW_LINK, "instance-gone .*does not know it"),
            ("InstanceNotReady", _NEW_LINK, "port-check-failed .*says InstanceNotReady"),
            ("ConsoleTypeInvalid", _NEW_LINK, "port-check-failed .*says ConsoleTypeInvalid"),
            ("NotImplementedError", _CAN_T_ASK, "failed with NotImplementedError"),
            ("ConsoleTypeUnavailable", _CAN_T_ASK, "failed with ConsoleTypeUnavailable"),
            ("wrong type", _CAN_T_ASK, "answered with a str, not with true or false"),
        ):
            self.has(host, console, fault)
            self.assert_refused(console, words, log)

    def test_a_compute_of_another_major_version(self) -> None:
        """Says so, and the log too."""
        console = self.running_console(self.compute(version="4.0"))
        self.assert_refused(console, _CAN_T_ASK, "failed with UnsupportedVersion")

    def test_few_connections(self) -> None:
        """The bus's and the database's connections do not grow with sessions."""
        host = self.compute()
        console = self.running_console(host)
        self.assert_opens(console)
        before = self.gateway.sockets()
        browsers = [ScriptedBrowser(self.url(console)) for _ in range(40)]
        for browser in browsers:
            self.assertEqual(browser.open_console(), fake_targets.SERVER_INIT)
        # Two of each session: its browser and its console.
        self.assertLessEqual(self.gateway.sockets(), before + 2 * len(browsers) + 5)
        for browser in browsers:
            browser.socket.close()


class NewestTests(OldestTests):
    """With the database and the computes of the newest release."""

    def open_cell(self) -> Cell:
        return newest()


class TimeOutTests(CloudTestCase):
    """Computes that take too long."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = newest()
        self.gateway = self.cell.gateway({"port_check_timeout": 2})
        self.addCleanup(self.gateway.stop)

    def test_a_slow_compute(self) -> None:
        """Is not waited for."""
        host = self.compute()
        console = self.running_console(host)
        self.has(host, console, "slow")
        self.assert_refused(console, _CAN_T_ASK, "did not answer in 2 s")

    def test_many_questions_to_one_compute(self) -> None:
        """A compute that does not answer takes no more than its share of the threads."""
        host = self.compute()
        console = self.running_console(host)
        self.has(host, console, "slow")

        def ask(_number: int) -> str:
            with ScriptedBrowser(self.url(console)) as browser:
                return browser.read_refusal()

        with ThreadPoolExecutor(13) as browsers:
            for reason in browsers.map(ask, range(13)):
                self.assertIn(_CAN_T_ASK, reason)
        busy = f"10 questions already wait for nova-compute on {host}"
        self.assertEqual(self.gateway.log.count(busy), 3)

    def test_a_downgraded_compute(self) -> None:
        """Its second topic's queue is still there; the time-out that costs is paid once."""
        host = self.compute("compute-alt")
        console = self.running_console(host)
        self.assert_opens(console)
        self.cell.nova.do("stop_compute", host=host)
        self.cell.nova.do("compute", host=host, topics=["compute"])
        self.has(host, console)
        self.assert_refused(console, _CAN_T_ASK, "did not answer in 2 s")
        self.assert_opens(console)


class WorkersTests(CloudTestCase):
    """Several processes, each with connections of its own."""

    def test_a_console(self) -> None:
        """Opens, and a reused port does not."""
        self.cell = newest()
        self.gateway = self.cell.gateway({"workers": 2})
        self.addCleanup(self.gateway.stop)
        host = self.compute()
        console = self.running_console(host)
        for _ in range(4):
            self.assert_opens(console)
        self.cell.nova.do("consoles", host=host, consoles={})
        self.assert_refused(console, _NEW_LINK, "port-check-failed")


class CapsTests(CloudTestCase):
    """What [upgrade_levels] compute makes of the question."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = oldest()

    def open_gateway(self, level: str) -> None:
        self.gateway = self.cell.gateway(more=f"[upgrade_levels]\ncompute = {level}\n")
        self.addCleanup(self.gateway.stop)

    def test_an_old_release(self) -> None:
        """Is asked in its own version, on the topic that it has."""
        self.open_gateway("victoria")
        self.assert_opens(self.running_console(self.compute(version="5.13")))
        alone = self.running_console(self.compute("compute-alt", version="5.13"))
        self.assert_refused(alone, _CAN_T_ASK, "no nova-compute listens")

    def test_auto(self) -> None:
        """The oldest compute's version stands in the database."""
        self.cell.sql(
            "DELETE FROM services; INSERT INTO services (deleted, host, `binary`, topic, "
            "report_count, version, forced_down) VALUES "
            "(0, 'a', 'nova-compute', 'compute', 1, 71, 0), "
            "(0, 'b', 'nova-compute', 'compute', 1, 52, 0), "
            "(0, 'c', 'nova-compute', 'compute', 1, 40, 1)"
        )
        self.addCleanup(self.cell.sql, "DELETE FROM services")
        self.open_gateway("auto")
        self.assert_opens(self.running_console(self.compute(version="5.13")))


class BusTests(CloudTestCase):
    """A bus that goes away, and comes back; and one that speaks TLS."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = oldest()

    def open_gateway(self, transport_url: str, more: str = "") -> None:
        bus = f"[DEFAULT]\ntransport_url = {transport_url}\n{more}"
        self.gateway = self.cell.gateway({"port_check_timeout": 4}, more=bus)
        self.addCleanup(self.gateway.stop)

    def test_an_outage(self) -> None:
        """Is refused in a bounded time, hurts no session, and is over when the bus is back."""
        bus = RabbitMq()
        self.addCleanup(bus.remove)
        self.open_gateway(bus.url)
        host = self.compute(transport_url=bus.url)
        console = self.running_console(host)
        with ScriptedBrowser(self.url(console)) as running:
            running.open_console()
            bus.stop()
            self.assert_refused(console, _CAN_T_ASK, "port-check-unavailable .*message bus")
            running.write(b"still here")
            self.assertEqual(running.read(10), b"still here")
        bus.start()
        self.assertTrue(becomes_true(lambda: self.opens(console)))
        self.assertNotIn("guest:guest", self.gateway.log)
        self.assertNotIn("Traceback", self.gateway.log)

    def opens(self, console: Console) -> bool:
        with ScriptedBrowser(self.url(console)) as browser:
            browser.write_version()
            return browser.read(1) == b"\x01"

    def test_tls_and_failover(self) -> None:
        """The second of two brokers takes over, and its certificate is verified."""
        host = self.compute()
        console = self.running_console(host)
        bus = self.cell.bus
        broker = f"guest:guest@localhost:{bus.tls_port}"
        tls = "[oslo_messaging_rabbit]\nssl = True\nssl_ca_file = "
        self.open_gateway(f"rabbit://guest:guest@localhost:1,{broker}/", f"{tls}{bus.ca_file}\n")
        self.assert_opens(console)
        self.open_gateway(f"rabbit://{broker}/", f"{tls}/etc/ssl/certs/ca-certificates.crt\n")
        self.assert_refused(console, _CAN_T_ASK, "message bus failed: .*CERTIFICATE_VERIFY")

    def test_a_stop_while_the_bus_is_away(self) -> None:
        """Does not wait for it."""
        self.open_gateway("rabbit://guest:guest@127.0.0.1:1/")
        console = self.cell.console("cmp", self.target.port)
        self.assert_refused(console, _CAN_T_ASK, "message bus failed: .*refused")
        self.assertEqual(self.gateway.program.stop(), -signal.SIGTERM)

    def test_a_wrong_password(self) -> None:
        """Is what the log says, and it does not show the password."""
        self.open_gateway(self.cell.bus.url.replace("guest:guest", "guest:s3cret"))
        console = self.cell.console("cmp", self.target.port)
        self.assert_refused(console, _CAN_T_ASK, "message bus failed: .*ACCESS_REFUSED")
        self.assertNotIn("s3cret", self.gateway.log)


class CheckTests(CloudTestCase):
    """`vncproxy check --config-file /etc/nova/nova.conf`."""

    def check(self, nova_conf: str) -> str:
        directory = self.mktemp()
        Path(directory).mkdir()
        path = Path(directory) / "nova.conf"
        path.write_text(nova_conf)
        command = [sys.executable, "-m", "vncproxy.cli", "check", "--config-file", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.status = done.returncode
        self.assertEqual(done.stderr, "")
        self.assertNotIn("guest:guest", done.stdout)
        return done.stdout

    def test_a_good_one(self) -> None:
        """The options in a table, and then what was tried."""
        printed = self.check(oldest().configuration)
        self.assertEqual(self.status, 0, printed)
        self.assertRegex(printed, r"ok +\[DEFAULT\] transport_url +understood: \*\*\*")
        self.assertRegex(printed, r"ok +port check +nova-compute is asked, and the message bus can")

    def test_a_dead_bus(self) -> None:
        """Is found out."""
        bad = oldest().configuration.replace(oldest().bus.url, "rabbit://guest:guest@127.0.0.1:1/")
        printed = self.check(bad)
        self.assertEqual(self.status, 1)
        self.assertRegex(printed, r"FAIL +port check +the message bus failed: .*refused")

    def test_mistakes(self) -> None:
        """Each is told with the option's name, and keeps the gateway from starting."""
        good = oldest().configuration
        for more, words in (
            ("[upgrade_levels]\ncompute = icehouse\n", r"\[upgrade_levels\] compute: 'icehouse'"),
            ("[DEFAULT]\ntransport_url = nonsense\n", "not a URL of a message bus"),
            ("[DEFAULT]\ntransport_url = zmq://h/\n", "oslo.messaging has no driver zmq"),
            ("[vncproxy]\nport_check = driver\n", "set .vncproxy. compute_driver"),
        ):
            line = CommandLine((f"--config-file={self.written(good + more)}",), "test", None)
            with self.assertRaisesRegex(ConfigError, words):
                build(line.read(), MemoryReactorClock(), line)

    def written(self, text: str) -> Path:
        path = Path(self.mktemp())
        path.write_text(text)
        return path
