"""A Galera cluster of two MariaDB servers on loopback."""

from __future__ import annotations

from tests.e2e.mariadb import MariaDb
from tests.e2e.programs import becomes_true, free_port, require

_PROVIDER = "/usr/lib/galera/libgalera_smm.so"


class Cluster:
    """Two nodes: what is written on one is applied on the other a little later."""

    def __init__(self) -> None:
        require(_PROVIDER, "rsync")
        self._first_port = free_port()
        self.first = MariaDb(*self._options(self._first_port, join=""))
        self.first.let_nova_in()
        try:
            join = f"127.0.0.1:{self._first_port}"
            self.second = MariaDb(*self._options(free_port(), join))
            assert becomes_true(self._is_whole)
        except BaseException:
            self.first.remove()
            raise

    def _options(self, port: int, join: str) -> tuple[str, ...]:
        """Return a node's options.

        Args:
            port: of its conversation with the others.
            join: the address of a node that is there already; empty for the first.
        """
        provider = {
            "base_host": "127.0.0.1",
            "base_port": port,
            "gmcast.listen_addr": f"tcp://127.0.0.1:{port}",
            "ist.recv_addr": f"127.0.0.1:{free_port()}",
        }
        return (
            *("--wsrep-on=ON", f"--wsrep-provider={_PROVIDER}", "--binlog-format=ROW"),
            *("--innodb-autoinc-lock-mode=2", "--wsrep-sst-method=rsync"),
            f"--wsrep-cluster-address=gcomm://{join}",
            f"--wsrep-node-address=127.0.0.1:{port}",
            f"--wsrep-sst-receive-address=127.0.0.1:{free_port()}",
            f"--wsrep-provider-options={';'.join(f'{k}={v}' for k, v in provider.items())}",
        )

    def _is_whole(self) -> bool:
        status = self.second.run(
            "SHOW STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_cluster_size')"
        )
        return "wsrep_ready\tON" in status and "wsrep_cluster_size\t2" in status

    def remove(self) -> None:
        """Stop both, and remove their directories."""
        self.second.remove()
        self.first.remove()
