"""Any play (``tests.e2e.plays``), in each of the gateway's ways to move bytes."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.plays import ENDS, SIZES, Play, plays
from tests.e2e.stage import STAGES, Stage

_EXAMPLES = settings(max_examples=30)
_AGAIN = 8  # of each end, of those that have found most
_PLAYS = st.builds(
    Play,
    from_server=st.lists(st.sampled_from(SIZES), max_size=6),
    from_client=st.lists(st.sampled_from(SIZES[:-1]), max_size=4),
    fragmented=st.lists(st.booleans(), min_size=4, max_size=4),
    tiny=st.booleans(),
    late=st.sampled_from(("", "", "client", "server")),
    end=st.sampled_from(ENDS),
    seed=st.integers(0, 1000),
)


class StageTestCase(SynchronousTestCase):
    """Plays in the way to move bytes that the subclass says."""

    stage = ""

    def setUp(self) -> None:
        self._stage = Stage(*STAGES[self.stage])
        self.addCleanup(self._stage.close)
        self.perform = self._stage.perform

    def again_and_again(self) -> None:
        """Play more than fifty in a row, because what is lost is lost once in hundreds."""
        for end in ENDS:
            for play in itertools.islice(plays(end), _AGAIN):
                self.perform(play)


class EngineTests(StageTestCase):
    stage = "engine"

    @_EXAMPLES
    @given(_PLAYS)
    def test_any_play(self, play: Play) -> None:
        """The engine on epoll."""
        self.perform(play)

    def test_again_and_again(self) -> None:
        """The same, in a row."""
        self.again_and_again()


class EngineTlsTests(StageTestCase):
    stage = "engine with TLS to the client"

    @_EXAMPLES
    @given(_PLAYS)
    def test_any_play(self, play: Play) -> None:
        """The engine, with TLS towards the client."""
        self.perform(play)

    def test_again_and_again(self) -> None:
        """The same, in a row."""
        self.again_and_again()


class EngineVencryptTests(StageTestCase):
    stage = "engine with TLS on both sides"

    @_EXAMPLES
    @given(_PLAYS)
    def test_any_play(self, play: Play) -> None:
        """The engine, with TLS on both sides."""
        self.perform(play)

    def test_again_and_again(self) -> None:
        """The same, in a row."""
        self.again_and_again()


class PortableTests(StageTestCase):
    stage = "portable"

    @_EXAMPLES
    @given(_PLAYS)
    def test_any_play(self, play: Play) -> None:
        """The portable path."""
        self.perform(play)

    def test_again_and_again(self) -> None:
        """The same, in a row."""
        self.again_and_again()


class PortableVencryptTests(StageTestCase):
    stage = "portable with TLS on both sides"

    @_EXAMPLES
    @given(_PLAYS)
    def test_any_play(self, play: Play) -> None:
        """The portable path, with TLS on both sides."""
        self.perform(play)

    def test_again_and_again(self) -> None:
        """The same, in a row."""
        self.again_and_again()
