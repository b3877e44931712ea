"""Patterns with ``*`` and nothing else."""

from __future__ import annotations

import re
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.patterns import matches, paths


class PatternTests(SynchronousTestCase):
    def test_only_the_star_is_special(self) -> None:
        """A name that looks like the shell's patterns is itself, and nothing else."""
        for pattern, fits, does_not in (
            ("vm[12]", ["vm[12]"], ["vm1", "vm2", "vm[12]x"]),
            ("vm?", ["vm?"], ["vm1", "vm"]),
            ("[!a]*", ["[!a]", "[!a]b"], ["b", "!a"]),
            ("web-*", ["web-", "web-1", "web-*"], ["web", "Web-1", "xweb-1"]),
            ("*", ["", "a", "a\nb"], []),
            ("", [""], ["a"]),
            ("a*b*c", ["abc", "a.b.c", "abbcc"], ["ac", "acb", "abcd"]),
            ("ab*ba", ["abba", "ab-ba"], ["aba", "ab"]),
            ("a**b", ["ab", "axb"], ["a"]),
            ("\\*", ["\\", "\\x"], ["*"]),
        ):
            for text in fits:
                self.assertTrue(matches(pattern, text), (pattern, text))
            for text in does_not:
                self.assertFalse(matches(pattern, text), (pattern, text))

    @given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
    def test_as_regular_expressions_do(self, pattern: str, text: str) -> None:
        """It decides as a regular expression with ``.*`` does."""
        expression = ".*".join(map(re.escape, pattern.split("*")))
        self.assertEqual(matches(pattern, text), bool(re.fullmatch(expression, text)))

    def test_many_stars(self) -> None:
        """Many stars cost no more than few: a regular expression would not come back."""
        begun = time.process_time()
        self.assertFalse(matches("a*" * 5_000 + "b", "a" * 100_000))
        self.assertFalse(matches("*a" * 5_000 + "*b*c", "a" * 100_000))
        self.assertLess(time.process_time() - begun, 1.0)

    def test_paths(self) -> None:
        """A path with brackets is a path; a star stands for what is in one directory."""
        directory = Path(self.mktemp())
        directory.mkdir()
        for name in ("vm[12].qmp", "vm1.qmp", "vm2.qmp"):
            (directory / name).touch()
        self.assertEqual(paths(f"{directory}/vm[12].qmp"), [f"{directory}/vm[12].qmp"])
        self.assertEqual(len(paths(f"{directory}/*.qmp")), 3)
        self.assertEqual(paths(f"{directory}/vm?.qmp"), [])
