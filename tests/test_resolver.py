"""Looking hosts up: who waits for whom, and what a silent name server can and can't do."""

from __future__ import annotations

import socket
import threading
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from tests.compute.harness import ThreadedClock, until
from vncproxy.errors import TargetUnreachable, TargetUnresolved
from vncproxy.resolver import Resolver

_AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class _System:
    """A ``getaddrinfo`` that answers when the test says so.

    Attributes:
        asked: the names, in the order of their look-ups.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: list[tuple[threading.Event, list[Any]]] = []

    def getaddrinfo(self, name: str, *_: object) -> list[tuple[Any, ...]]:
        """Hang until there is an answer."""
        answered: threading.Event = threading.Event()
        answer: list[Any] = []
        self._answers.append((answered, answer))
        self.asked.append(name)
        answered.wait(60)
        if isinstance(answer[0], BaseException):
            raise answer[0]
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, 1, 6, "", (address, 0))
            for address in answer
        ]

    def answer(self, number: int, *answer: object) -> None:
        """Answer a look-up with addresses, or with an exception."""
        answered, found = self._answers[number]
        found.extend(answer)
        answered.set()

    def end(self) -> None:
        """Let those go that still hang."""
        for number in range(len(self._answers)):
            self.answer(number, _AGAIN)


class ResolverTests(TestCase):
    def setUp(self) -> None:
        self.clock = ThreadedClock()
        self.system = _System()
        self.addCleanup(self.system.end)
        self.resolver = Resolver(
            self.clock,  # type: ignore[arg-type]
            most=3,
            getaddrinfo=self.system.getaddrinfo,
        )

    def resolve(self, host: str) -> Deferred[tuple[str, ...]]:
        return self.resolver.resolve(host, 10.0)

    async def asked(self, count: int) -> None:
        """Wait until so many look-ups have begun."""
        await until(lambda: len(self.system.asked) == count)

    async def test_addresses(self) -> None:
        """They are found in no thread, also while all threads hang."""
        waiting = [self.resolve(f"vm{number}") for number in range(5)]
        for host, address in (
            *(("192.0.2.7", "192.0.2.7"), ("2001:DB8::0:7", "2001:db8::7")),
            *(("127.1", "127.0.0.1"), ("0x7f000001", "127.0.0.1")),
        ):
            self.assertEqual(self.successResultOf(self.resolve(host)), (address,))
        await self.asked(3)
        for one in waiting:
            one.cancel()
            self.failureResultOf(one, CancelledError)

    def test_no_names(self) -> None:
        """What can be no host's name is not looked up."""
        for host in (
            *("", " ", "a host", "vm\n", "vm\0", "a..b", ".", "1.2.3.4/24", "[::1]", "vm:5900"),
            *("fe80::1%nowhere", "@", "x" * 64, "x." * 127, "\udcff", "é" * 300, "/etc/passwd"),
        ):
            self.failureResultOf(self.resolve(host), TargetUnreachable)
        self.assertEqual((self.resolver.running, self.system.asked), (0, []))

    async def test_names(self) -> None:
        """They are looked up as the system knows them; each address comes once, in its order."""
        for number, (host, name) in enumerate(
            (
                *(("cmp1", "cmp1"), ("cmp_1.Example.", "cmp_1.Example.")),
                ("müller.example", "xn--mller-kva.example"),
            )
        ):
            found = self.resolve(host)
            await self.asked(number + 1)
            self.assertEqual(self.system.asked[-1], name)
            self.system.answer(number, "2001:db8::7", "192.0.2.7", "2001:db8::7")
            self.assertEqual(await found, ("2001:db8::7", "192.0.2.7"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_failures(self) -> None:
        """A no is told from no answer, and whatever else is raised counts as the latter."""
        for number, (raised, error, words) in enumerate(
            (
                (socket.gaierror(socket.EAI_NONAME, "?"), TargetUnreachable, "vm: no such host"),
                (socket.gaierror(socket.EAI_NODATA, "?"), TargetUnreachable, "vm: no such host"),
                (_AGAIN, TargetUnresolved, "vm could not be looked up: Temporary failure"),
                (OSError(24, "Too many open files"), TargetUnresolved, "up: Too many open files"),
                (RuntimeError("a module's own"), TargetUnresolved, "a module's own"),
            )
        ):
            found = self.resolve("vm")
            await self.asked(number + 1)
            self.system.answer(number, raised)
            with self.assertRaisesRegex(error, words):
                await found
        nothing = self.resolve("vm")
        await self.asked(6)
        self.system.answer(5)
        with self.assertRaises(TargetUnresolved):
            await nothing

    async def test_many_for_one_name(self) -> None:
        """They share a look-up and its thread; each waits as long as it may."""
        first = self.resolve("vm")
        await self.asked(1)
        self.clock.advance(4)
        late, gone = self.resolve("vm"), self.resolve("vm")
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.clock.advance(5.9)
        self.assertNoResult(first)
        self.clock.advance(0.2)
        error = self.failureResultOf(first, TargetUnresolved).value
        self.assertIn("the name vm could not be looked up in 10 s", str(error))
        self.assertNoResult(late)
        self.assertEqual(self.resolver.running, 1)
        self.system.answer(0, "192.0.2.7")
        self.assertEqual(await late, ("192.0.2.7",))
        self.assertEqual((self.resolver.running, len(self.system.asked)), (0, 1))

    async def test_a_look_up_that_hung(self) -> None:
        """Whoever came when it hung already gets one of their own when it fails; but no third."""
        first = self.resolve("vm")
        await self.asked(1)
        late = self.resolve("vm")
        self.system.answer(0, _AGAIN)
        with self.assertRaises(TargetUnresolved):
            await first
        await self.asked(2)
        self.assertNoResult(late)
        self.system.answer(1, _AGAIN)
        with self.assertRaises(TargetUnresolved):
            await late
        self.assertEqual((self.resolver.running, len(self.system.asked)), (0, 2))

    async def test_a_no_is_for_everybody(self) -> None:
        """What does not exist is not asked for again for those who came late."""
        both = [self.resolve("vm")]
        await self.asked(1)
        both.append(self.resolve("vm"))
        self.system.answer(0, socket.gaierror(socket.EAI_NONAME, "?"))
        for one in both:
            with self.assertRaises(TargetUnreachable):
                await one
        self.assertEqual(len(self.system.asked), 1)

    async def test_more_names_than_threads(self) -> None:
        """The others wait in turn, are told in time, and are not asked for when nobody waits."""
        found = [self.resolve(f"vm{number}") for number in range(5)]
        await self.asked(3)
        self.clock.advance(9)
        later = self.resolve("vm4")
        self.clock.advance(1)
        for one in found:
            self.failureResultOf(one, TargetUnresolved)
        self.assertEqual(self.resolver.running, 3)
        self.system.answer(0, "192.0.2.7")
        await self.asked(4)
        self.assertEqual(self.system.asked[3], "vm4")
        self.system.answer(3, "192.0.2.4")
        self.assertEqual(await later, ("192.0.2.4",))

    async def test_somebody_who_comes_when_nobody_waited(self) -> None:
        """A look-up that was skipped is made for whoever came behind that."""
        hanging = [self.resolve(f"vm{number}") for number in range(3)]
        await self.asked(3)
        skipped = self.resolve("vm")
        skipped.cancel()
        self.failureResultOf(skipped, CancelledError)
        found = self.resolve("vm")
        self.system.answer(0, "192.0.2.1")
        await hanging[0]
        await self.asked(4)
        self.system.answer(3, "192.0.2.7")
        self.assertEqual(await found, ("192.0.2.7",))
        for one in hanging[1:]:
            one.cancel()
            self.failureResultOf(one, CancelledError)

    def test_no_more_threads(self) -> None:
        """Where the system gives none, that is the look-up's failure, and nothing is left over."""

        def refuse(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        self.patch(threading.Thread, "start", refuse)
        for _ in range(5):
            error = self.failureResultOf(self.resolve("vm"), TargetUnresolved).value
            self.assertIn("can't start new thread", str(error))
        self.assertEqual(self.resolver.running, 0)
