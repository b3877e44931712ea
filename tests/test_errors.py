"""What is said for each ending: in Close frames, in the docs and by the page."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vncproxy.errors import ANSWERS
from vncproxy.model import Ending

_ROOT = Path(__file__).parents[1]


class AnswerTests(SynchronousTestCase):
    def test_close_codes(self) -> None:
        """Each end by the clock has a close code of its own, and words."""
        ends = [Ending.CLIENT_IDLE, Ending.SERVER_IDLE, Ending.SESSION_TOO_LONG]
        codes = {ANSWERS[ending].close_code for ending in ends}
        self.assertEqual(codes, {4408, 4440, 4444})
        elsewhere = {answer.close_code for end, answer in ANSWERS.items() if end not in ends}
        self.assertFalse(codes & elsewhere)
        self.assertEqual(len({ANSWERS[ending].words for ending in ends}), 3)

    def test_words_fit_into_a_close_frame(self) -> None:
        """The words of every ending fit into a Close frame, with room to spare."""
        self.assertEqual(set(ANSWERS), set(Ending))
        for ending, answer in ANSWERS.items():
            self.assertLessEqual(len(answer.words.encode()), 100, ending)

    def test_the_docs_name_every_ending(self) -> None:
        """docs/protocol.md has each word that a log may show."""
        text = (_ROOT / "docs/protocol.md").read_text()
        missing = [ending.value for ending in Ending if f"`{ending.value}`" not in text]
        self.assertEqual(missing, [])

    def test_the_page_knows_every_close_code(self) -> None:
        """The console page has a headline for each close code of ours."""
        script = (_ROOT / "vncproxy/web/page/reasons.js").read_text()
        known = {int(code) for code in re.findall(r"^  (\d{4}): ", script, re.MULTILINE)}
        ours = {answer.close_code for answer in ANSWERS.values() if answer.close_code >= 4000}
        self.assertEqual(ours - known, set())
