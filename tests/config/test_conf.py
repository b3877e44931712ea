"""The generated files say what the code says."""

from __future__ import annotations

import io
from dataclasses import fields
from pathlib import Path

from oslo_config import cfg, generator
from twisted.trial.unittest import SynchronousTestCase

from tests.config.reference import reference
from vncproxy.config.options import TOPICS

_ROOT = Path(__file__).parents[2]


class GeneratedFilesTests(SynchronousTestCase):
    def test_the_sample_is_fresh(self) -> None:
        """conf/vncproxy.conf holds every option at its default: else run `make conf`."""
        fresh = io.StringIO()
        conf = cfg.ConfigOpts()
        generator.register_cli_opts(conf)
        conf(["--namespace", "vncproxy"], default_config_files=[])
        generator.generate(conf, fresh)
        self.assertEqual((_ROOT / "conf/vncproxy.conf").read_text(), fresh.getvalue())

    def test_the_reference_is_fresh(self) -> None:
        """docs/configuration.md lists every option: else run `make conf`."""
        self.assertEqual((_ROOT / "docs/configuration.md").read_text(), reference())

    def test_every_option_is_read(self) -> None:
        """Each topic's dataclass has a field for each of its options, and no other."""
        for topic in TOPICS:
            names = {field.name for field in fields(topic.values)}
            self.assertEqual(names, {option.dest for option in topic.options}, topic.name)
            self.assertLessEqual(set(topic.flags), names)
