"""What is known of nova without asking anybody: cell templates, versions, topics."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.openstack.cell_url import fill
from vncproxy.openstack.topics import ComputeTopics
from vncproxy.openstack.versions import cap_of, cap_of_service, topics_for, version_sent

_BASE = "mysql+pymysql://nova:p%40ss@DB.example:3306/nova?charset=utf8#frag"
_BUS = "rabbit://a:1@one:5672,b:2@two:5673/vhost"
_BOTH = ("compute-alt", "compute")


class FillTests(SynchronousTestCase):
    def test_templates(self) -> None:
        """Variables come from the base; what can't be filled stays as it is."""
        for template, base, filled in (
            (
                "{scheme}://{username}:{password}@h/{path}?{query}",
                _BASE,
                "mysql+pymysql://nova:p%40ss@h/nova?charset=utf8",
            ),
            (
                "mysql://u:p@{hostname}:{port}/n#{fragment}",
                _BASE,
                "mysql://u:p@db.example:3306/n#frag",
            ),
            (
                "rabbit://{username1}:{password1}@{hostname1}:{port1},{username2}@{hostname2}/{path}",
                _BUS,
                "rabbit://a:1@one:5672,b@two/vhost",
            ),
            ("x://{port}/", "x://h/", "x://None/"),
            ("x://{nothing}/", _BASE, "x://{nothing}/"),
            ("x://{hostname1}/", _BASE, "x://{hostname1}/"),
            ("x://{/", _BASE, "x://{/"),
            ("x://{}/", _BASE, "x://{}/"),
            ("x://{hostname}/", None, "x://{hostname}/"),
            ("x://{hostname}/", "x://h:port/", "x://{hostname}/"),
            ("plain://h/", _BASE, "plain://h/"),
        ):
            self.assertEqual(fill(template, base), filled)

    @given(st.text(), st.text())
    def test_anything(self, template: str, base: str) -> None:
        """Rows and options may hold any text."""
        fill(template, base)


class VersionTests(SynchronousTestCase):
    def test_levels(self) -> None:
        """Releases, versions, and service versions, as nova maps them."""
        for level, cap, version, topics in (
            ("queens", (5, 0), "5.0", ("compute",)),
            ("Victoria", (5, 12), "5.0", ("compute",)),
            ("wallaby", (6, 0), "6.0", ("compute",)),
            ("zed", (6, 1), "6.0", ("compute",)),
            ("epoxy", (6, 4), "6.0", ("compute",)),
            ("gazpacho", (6, 5), "6.0", _BOTH),
            ("6.4", (6, 4), "6.0", ("compute",)),
            ("5.13", (5, 13), "5.0", ("compute",)),
        ):
            self.assertEqual(cap_of(level), cap)
            self.assertEqual((version_sent(cap), topics_for(cap)), (version, topics))
        self.assertEqual((version_sent(None), topics_for(None)), ("6.0", _BOTH))
        for level in ("icehouse", "4.17", "7.0", "six", "6", "6.1.1", ""):
            with self.assertRaises(ValueError):
                cap_of(level)

    def test_service_versions(self) -> None:
        """Numbers in between keep the lower cap; none, or a newer one, means the newest."""
        for service, cap in (
            (0, (6, 5)),
            (30, (5, 0)),
            (36, (5, 0)),
            (37, (5, 1)),
            (40, (5, 3)),
            (41, (5, 4)),
            (47, (5, 10)),
            (49, (5, 10)),
            (50, (5, 11)),
            (53, (5, 12)),
            (55, (5, 13)),
            (56, (6, 0)),
            (63, (6, 0)),
            (65, (6, 1)),
            (66, (6, 2)),
            (67, (6, 3)),
            (70, (6, 4)),
            (71, (6, 5)),
            (73, (6, 5)),
            (99, (6, 5)),
        ):
            self.assertEqual(cap_of_service(service), cap, service)


class TopicTests(SynchronousTestCase):
    def test_what_is_remembered(self) -> None:
        """A host's topic, for ten minutes; a silent one comes last."""
        clock = Clock()
        topics = ComputeTopics(clock.seconds)
        self.assertEqual(topics.order("a", _BOTH), _BOTH)
        topics.answered("a", "compute")
        self.assertEqual(topics.order("a", _BOTH), ("compute", "compute-alt"))
        self.assertEqual(topics.order("b", _BOTH), _BOTH)
        self.assertEqual(topics.order("a", ("compute",)), ("compute",))
        clock.advance(601)
        self.assertEqual(topics.order("a", _BOTH), _BOTH)
        topics.silent("a", "compute-alt", _BOTH)
        self.assertEqual(topics.order("a", _BOTH), ("compute", "compute-alt"))
        topics.silent("a", "compute", ("compute",))
        self.assertEqual(topics.order("a", ("compute",)), ("compute",))
