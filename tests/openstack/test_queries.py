"""Query parameters of the API: nova's own schemas say which there are, and since when."""

from __future__ import annotations

import json
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from tests.openstack.nova_process import NEWEST, require_nova
from vncproxy.console_api.faults import Fault
from vncproxy.console_api.queries import check_list_query, check_no_query
from vncproxy.console_api.versions import HIGHEST, LOWEST, SPICE_DIRECT, Microversion

_ASK = """
import json
from nova.api.openstack.compute.schemas import servers as schemas
print(json.dumps({
    "tables": list(schemas.JOINED_TABLE_QUERY_PARAMS_SERVERS),
    "newest": list(schemas.index_query_v275["properties"]),
    "strict": [
        name for name, schema in vars(schemas).items()
        if "query" in name and schema.get("additionalProperties") is False
    ],
}))
"""


def refuses(name: str, version: Microversion) -> bool:
    """Return whether a list may not have this parameter."""
    try:
        check_list_query([name], version)
    except Fault:
        return True
    return False


class NovasQueriesTests(SynchronousTestCase):
    def test_the_names(self) -> None:
        """A list takes what nova's does, but for what nova then refuses otherwise."""
        require_nova(NEWEST)
        done = subprocess.run(
            [NEWEST, "-W", "ignore", "-c", _ASK], check=True, capture_output=True, text=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        for name in found["newest"]:
            self.assertEqual(refuses(name, HIGHEST), name in found["tables"], name)
        # Each schema that refuses others has the microversion in its name.
        self.assertLessEqual({"index_query_v275", "show_query_v2102"}, set(found["strict"]))

    def test_since_when(self) -> None:
        """Each kind of request has its own microversion for that."""
        unknown = ["unknown"]
        for check, first in (
            (check_list_query, Microversion(2, 75)),
            (check_no_query, Microversion(2, 102)),
            (lambda names, version: check_no_query(names, version, SPICE_DIRECT), SPICE_DIRECT),
        ):
            for version in (LOWEST, Microversion(2, first.minor - 1)):
                check(unknown, version)
            for version in (first, HIGHEST):
                check([], version)
                self.assertRaises(Fault, check, unknown, version)
