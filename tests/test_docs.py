"""The tests that the documents name as proof are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_CHECKOUT = Path(__file__).parents[1]
_DOCUMENTS = ("security.md", "threat-model.md")
_NAMES = re.compile(r"\b(?:test_\w+|[A-Z]\w*Tests)\b")


def names_in_tests() -> set[str]:
    """Return the names of all modules, classes and methods of the tests."""
    found: set[str] = set()
    for path in (_CHECKOUT / "tests").rglob("*.py"):
        found.add(path.stem)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.add(node.name)
    return found


class NamedTestsTests(SynchronousTestCase):
    def test_each_is_there(self) -> None:
        """A test that is renamed or deleted is found in the documents, too."""
        known = names_in_tests()
        for name in _DOCUMENTS:
            named = set(_NAMES.findall((_CHECKOUT / "docs" / name).read_text()))
            self.assertEqual(named - known, set(), name)
