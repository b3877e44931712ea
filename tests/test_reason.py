"""The one line for an operator, of whatever exception."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vncproxy.reason import passwords_in, reason_of, words_of


class ReasonTests(SynchronousTestCase):
    def test_one_line(self) -> None:
        """The exception's kind and words, not too many of them; the kind alone where it is mute."""
        self.assertEqual(reason_of(RuntimeError("no\n  library")), "RuntimeError: no library")
        self.assertEqual(reason_of(TimeoutError()), "TimeoutError")
        self.assertEqual(words_of(ValueError("x" * 9000)), "x" * 500)

    def test_secrets(self) -> None:
        """Are hidden as they are, and as URLs spell them; also where one is a part of another."""
        error = ValueError("of nova:p@ss word, p%40ss%20word, p%40ss+word, p@ss")
        said = words_of(error, ["p@ss", "", "p@ss word"])
        self.assertEqual(said, "of nova:***, ***, ***, ***")

    def test_passwords_of_a_url(self) -> None:
        """Of every host that it lists."""
        self.assertEqual(passwords_in("rabbit://a:one@h1:5672,b:t%77o@h2/v"), ["one", "t%77o"])
        self.assertEqual(passwords_in("rabbit://h1,a@h2"), [])
        self.assertEqual(passwords_in("rabbit://[h1"), [])
