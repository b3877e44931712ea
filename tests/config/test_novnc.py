"""Which noVNC a directory holds, and whether our page can use it."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vncproxy.config.novnc import fault_in, is_untried, version_in

_MODULE = "export default class RFB {}\n"


class NoVncTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()

    def put(self, name: str, text: str = _MODULE) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def test_its_package_says(self) -> None:
        """A package of npm's names its version; another's, and what is none, say nothing."""
        self.put("core/rfb.js")
        self.put("core/ra2.js")
        self.put("package.json", json.dumps({"name": "@novnc/novnc", "version": "1.4.0"}))
        self.assertEqual(version_in(self.root), "1.4.0")
        for text in (json.dumps({"name": "other", "version": "9"}), "[]", "{", "\xff"):
            self.put("package.json", text)
            self.assertEqual(version_in(self.root), "1.4")

    def test_its_files_say(self) -> None:
        """Each version but the third brought a file, by which a distribution's is known."""
        self.put("core/rfb.js")
        for name, version in (
            ("input/keyboard.js", "1.0"),
            ("decoders/raw.js", "1.1"),
            ("deflator.js", "1.2 or 1.3"),
            ("ra2.js", "1.4"),
            ("crypto/crypto.js", "1.5"),
            ("decoders/h264.js", "1.6 or newer"),
        ):
            self.put(f"core/{name}")
            self.assertEqual(version_in(self.root), version)
            self.assertIsNone(fault_in(self.root))

    def test_what_no_browser_can_read(self) -> None:
        """What is no noVNC, npm's two versions without modules, and older ones are told apart."""
        self.assertIn("has no core/rfb.js", str(fault_in(self.root)))
        self.put("lib/rfb.js", "exports.default = RFB;")
        self.assertIn("npm's 1.5 and 1.6 are not made for browsers", str(fault_in(self.root)))
        self.put("core/rfb.js", "var RFB = function () {};")
        self.assertIn("is older than 1.0", str(fault_in(self.root)))

    def test_a_newer_one(self) -> None:
        """One that nobody has tried is known by its number."""
        tried = [version for version in ("1.0.0", "1.7.9", "1.8.0", "2.0", "1.6 or newer", "g")]
        self.assertEqual([v for v in tried if is_untried(v)], ["1.8.0", "2.0"])
