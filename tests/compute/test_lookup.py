"""Which server is meant, when several hosts have an answer or none."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.compute.interface import (
    HostFault,
    HostUnreachable,
    Listing,
    Server,
    ServerAmbiguous,
    ServerNotFound,
    Status,
)
from vncproxy.compute.lookup import canonical_id, made_up_id, one_each, the_one

_ID = "11111111-2222-4333-8444-555555555555"
_OTHER = "22222222-2222-4333-8444-555555555555"
_DOWN = HostFault("kvm3", "no answer")


def server(id: str = _ID, name: str = "web", status: str = "ACTIVE", host: str = "kvm1") -> Server:
    return Server(id, name, Status(status), host)


def found(*servers: Server) -> Listing:
    return Listing(tuple(one_each(servers)))


class TheOneTests(SynchronousTestCase):
    def test_the_only_one(self) -> None:
        """One answer is it, even while another host is down."""
        self.assertEqual(the_one("web", Listing((server(),), (_DOWN,))), server())

    def test_two_of_one_name(self) -> None:
        """Both ids are told to the user, the hosts to the operator only."""
        with self.assertRaises(ServerAmbiguous) as caught:
            the_one("web", found(server(_OTHER), server(host="kvm2")))
        self.assertEqual(caught.exception.ids, (_ID, _OTHER))
        self.assertIn(_ID, caught.exception.words)
        self.assertNotIn("kvm", caught.exception.words)
        self.assertIn(f"{_ID} on kvm2", str(caught.exception))

    def test_none(self) -> None:
        """Not found is said only when every host was asked."""
        with self.assertRaises(ServerNotFound):
            the_one("web", found())
        with self.assertRaises(HostUnreachable) as caught:
            the_one("web", Listing((), (_DOWN,)))
        self.assertIn("kvm3: no answer", str(caught.exception))
        self.assertNotIn("kvm3", caught.exception.words)

    def test_an_id_before_a_name(self) -> None:
        """A server that is named like another's UUID does not stand in its way."""
        impostor = server(_OTHER, name=_ID)
        self.assertEqual(the_one(_ID.upper(), found(impostor, server())), server())

    def test_a_server_on_two_hosts(self) -> None:
        """It is where it runs: defined elsewhere, or being received there, does not count."""
        runs = server()
        for elsewhere in ("SHUTOFF", "PAUSED", "UNKNOWN"):
            self.assertEqual(the_one(_ID, found(server(status=elsewhere, host="kvm2"), runs)), runs)
        off = [server(status="SHUTOFF"), server(status="SHUTOFF", host="kvm2")]
        self.assertEqual(the_one(_ID, found(*off)), off[0])

    def test_a_server_that_runs_twice(self) -> None:
        """It is nobody's guess which one is meant."""
        with self.assertRaises(ServerAmbiguous):
            the_one(_ID, found(server(), server(host="kvm2")))

    @given(
        st.lists(
            st.builds(
                server,
                id=st.sampled_from([_ID, _OTHER]),
                status=st.sampled_from([status.value for status in Status]),
                host=st.sampled_from(["kvm1", "kvm2"]),
            )
        )
    )
    def test_none_is_lost(self, servers: list[Server]) -> None:
        """Each id that was found stays, once, unless it really runs in several places."""
        left = one_each(servers)
        self.assertEqual({s.id for s in left}, {s.id for s in servers})
        for same in (_ID, _OTHER):
            running = [s for s in servers if s.id == same and s.status is Status.ACTIVE]
            kept = [s for s in left if s.id == same]
            self.assertEqual(len(kept), len(running) or bool([s for s in servers if s.id == same]))


class IdTests(SynchronousTestCase):
    @given(st.uuids())
    def test_every_form_of_a_uuid(self, value: uuid.UUID) -> None:
        """With and without dashes, in any case."""
        for text in (str(value), value.hex, str(value).upper()):
            self.assertEqual(canonical_id(text), str(value))

    @given(st.text())
    def test_anything_else_is_a_name(self, text: str) -> None:
        """And gets an id that is the same every time."""
        self.assertIsNone(canonical_id(text))
        self.assertEqual(made_up_id(text), made_up_id(text))
        self.assertEqual(canonical_id(made_up_id(text)), made_up_id(text))
