"""SIGHUP: what changes, what does not, and what is said of it."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from vncproxy.config.read import ConfigError, read_settings
from vncproxy.config.settings import Settings
from vncproxy.reload import Part, Reload


class ReloadTests(TestCase):
    def setUp(self) -> None:
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.config = Path(self.mktemp())
        self.write()
        self.origins: list[tuple[str, ...]] = []
        self.heard = 0
        self.fault: ConfigError | None = None
        part = Part(("[console] allowed_origins",), self.follow)
        self.reload = Reload(self.read(), self.read, [part])

    def write(self, origins: str = "", heartbeat: str = "25") -> None:
        self.config.write_text(
            f"[console]\nallowed_origins = {origins}\n[vncproxy]\nheartbeat_interval = {heartbeat}"
        )

    def read(self) -> Settings:
        return read_settings(["--config-file", str(self.config)], "test")

    def follow(self, settings: Settings) -> None:
        if self.fault is not None:
            raise self.fault
        self.origins.append(settings.console.allowed_origins)

    def said(self) -> list[str]:
        """Return the lines since the last call."""
        texts = [event["log_format"].format(**event) for event in self.log]
        new, self.heard = texts[self.heard :], len(texts)
        return new

    def test_a_change(self) -> None:
        """What can follow follows, and is named."""
        self.write("a.example")
        self.reload.run()
        self.assertEqual(self.origins, [("a.example",)])
        self.assertEqual(self.said(), ["reloaded; changed: [console] allowed_origins"])

    def test_no_change(self) -> None:
        """The parts look all the same: files may have changed that options name."""
        self.reload.run()
        self.assertEqual(self.origins, [()])
        self.assertEqual(self.said(), ["reloaded; changed: no option"])

    def test_what_needs_a_restart(self) -> None:
        """It is named at each reload, until it is as at the start again."""
        self.write(heartbeat="10")
        for _ in range(2):
            self.reload.run()
            self.assertEqual(
                self.said(),
                [
                    "reloaded; changed: no option",
                    "only a restart takes over [vncproxy] heartbeat_interval",
                ],
            )
        self.write()
        self.reload.run()
        self.assertEqual(self.said(), ["reloaded; changed: no option"])

    def test_a_broken_file(self) -> None:
        """It changes nothing, and the line says what is wrong with it."""
        self.config.write_text("[vncproxy]\nheartbeet_interval = 1\n")
        self.reload.run()
        self.assertEqual(self.origins, [()])
        said = self.said()
        self.assertIn("the configuration stays as it was, because ", said[0])
        self.assertIn("did you mean heartbeat_interval?", said[0])

    def test_a_part_that_can_t_follow(self) -> None:
        """It is named with its reason."""
        self.fault = ConfigError("it can't be used")
        self.write("a.example")
        self.reload.run()
        self.assertEqual(
            self.said()[0], "[console] allowed_origins not taken over, because it can't be used"
        )
