"""The tests that the documents name as proof are there."""

from __future__ import annotations

import ast
import importlib
import re
from operator import attrgetter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_CHECKOUT = Path(__file__).parents[1]
_DOCUMENTS = ("security.md", "threat-model.md", "supported.md")
_WHOLE_NAMES = re.compile(r"`((?:[a-z]\w*\.)*test_\w+\.[A-Z]\w*Tests(?:\.test_\w+)?)`")
_NAMES = re.compile(r"\b(?:test_\w+|[A-Z]\w*Tests)\b")


def names_in_tests() -> set[str]:
    """Return the names of all modules, classes and methods of the tests."""
    found: set[str] = set()
    for path in (_CHECKOUT / "tests").rglob("*.py"):
        found.add(path.stem)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
    return found


class NamedTestsTests(SynchronousTestCase):
    def test_each_is_there(self) -> None:
        """A test that is renamed or deleted is found in the documents, too."""
        known = names_in_tests()
        for name in _DOCUMENTS:
            named = set(_NAMES.findall((_CHECKOUT / "docs" / name).read_text()))
            self.assertEqual(named - known, set(), name)


class SupportedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = (_CHECKOUT / "docs/supported.md").read_text()

    def test_each_proof_is_there(self) -> None:
        """A test stands in the page with its whole name, under which trial finds it."""
        named = _WHOLE_NAMES.findall(self.text)
        self.assertGreater(len(named), 40)
        for name in named:
            module = name.partition("Tests")[0].rpartition(".")[0]
            proof = attrgetter(name.removeprefix(f"{module}."))
            self.assertTrue(callable(proof(importlib.import_module(f"tests.{module}"))), name)

    def test_each_row_has_one(self) -> None:
        """What nobody has proven says so."""
        rows = [line for line in self.text.splitlines() if line.startswith("|")]
        for row in rows:
            proof = row.rstrip("|").rpartition("|")[2].strip()
            known = _WHOLE_NAMES.search(proof) or proof in ("test", "---", "the same", "not tried")
            self.assertTrue(known, row)
