"""The driver ``libvirt``: domains of one or many hosts, and where their consoles listen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from vncproxy.compute.domain_xml import Domain, DomainXmlFault, parse_domain
from vncproxy.compute.interface import (
    CONSOLE_TYPES,
    Console,
    ConsoleTypeUnsupported,
    HostFault,
    HostUnreachable,
    Listing,
    Server,
    ServerNotFound,
    ServerNotRunning,
)
from vncproxy.compute.libvirt_connection import LibvirtConnection
from vncproxy.compute.libvirt_host import IReactor, LibvirtHost
from vncproxy.compute.listening import Way, dialled, is_loopback, usable
from vncproxy.compute.lookup import one_each, the_one
from vncproxy.compute.together import together


class LibvirtDriver:
    """Finds domains over all hosts (see ``interface.ComputeDriver``).

    Args:
        hosts: at least one; all are asked at once.
    """

    def __init__(self, hosts: Sequence[LibvirtHost]) -> None:
        self._hosts = tuple(hosts)

    async def list_servers(self) -> Listing:
        """Return every domain of every host."""
        answers = await together(host.ask(LibvirtConnection.servers) for host in self._hosts)
        servers, faults = _parted(answers)
        return Listing(tuple(one_each(servers)), tuple(faults))

    async def find_servers(self, name_or_id: str) -> Listing:
        """Return the domains of this UUID or name."""
        answers = await together(
            host.ask(lambda connection: connection.find(name_or_id)) for host in self._hosts
        )
        servers, faults = _parted(answers)
        return Listing(tuple(one_each(servers)), tuple(faults))

    async def find_server(self, name_or_id: str) -> Server:
        """Return a domain by its UUID or name."""
        return the_one(name_or_id, await self.find_servers(name_or_id))

    async def find_console(self, server: Server, console_type: str) -> Console:
        """Return where a running domain's console listens now."""
        if console_type not in CONSOLE_TYPES:
            raise ConsoleTypeUnsupported(console_type)
        hosts = [host for host in self._hosts if host.name == server.host] or self._hosts
        answers = await together(
            host.ask(lambda connection: connection.xml(server.id)) for host in hosts
        )
        faults = [answer for answer in answers if isinstance(answer, HostFault)]
        known = False
        for host, xml in zip(hosts, answers, strict=True):
            if isinstance(xml, str):
                known = True
                domain = _domain(xml, server)
                if domain.running:
                    listening = usable(domain.devices, console_type, server.name)
                    return dialled(listening, console_type, server.name, host.way)
        if faults:
            raise HostUnreachable(server.name, faults)
        if known:
            raise ServerNotRunning(f"Server {server.name} is not running.")
        raise ServerNotFound(f"Server {server.name} could not be found.")

    def stop(self) -> None:
        """Close the connections; calls that hang are left behind, in threads that end with us."""
        for host in self._hosts:
            host.close()


def _parted(answers: Iterable[list[Server] | HostFault]) -> tuple[list[Server], list[HostFault]]:
    servers: list[Server] = []
    faults: list[HostFault] = []
    for answer in answers:
        if isinstance(answer, HostFault):
            faults.append(answer)
        else:
            servers += answer
    return servers, faults


def _domain(xml: str, server: Server) -> Domain:
    try:
        return parse_domain(xml)
    except DomainXmlFault as fault:
        raise HostUnreachable(server.name, [HostFault(server.host, str(fault))]) from fault


def libvirt_hosts(
    uris: Iterable[str],
    addresses: Mapping[str, str],
    read_passwords: bool,
    reactor: IReactor,
    timeout_s: float,
) -> list[LibvirtHost]:
    """Return the hosts of these URIs.

    Args:
        uris: such as ``qemu+tls://kvm1/system``.
        addresses: of hosts whose consoles are reached by another one than the URI's, by the URI's
            host; ``localhost`` is that of a URI without one.
        read_passwords: whether to read the domains' passwords.
        reactor: runs callbacks and time-outs.
        timeout_s: seconds, > 0, that an answer may take.

    Raises:
        ValueError: a URI or an address can't be right; the text says why, for the operator.
    """
    hosts = []
    for uri in uris:
        name = _host_of(uri)
        way = Way(
            address=addresses.get(name, "127.0.0.1" if name == "localhost" else name),
            local=is_loopback(name),
        )

        def connect(uri: str = uri, name: str = name) -> LibvirtConnection:
            return LibvirtConnection(_without_questions(uri), name, read_passwords, timeout_s)

        hosts.append(LibvirtHost(name, way, connect, reactor, timeout_s))
    strangers = sorted(set(addresses) - {host.name for host in hosts})
    if strangers:
        raise ValueError(f"an address for {strangers[0]}, which is the host of no URI")
    if not hosts:
        raise ValueError("no URI at all")
    return hosts


def _host_of(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        host = parts.hostname
    except ValueError:
        raise ValueError(f"{uri} is no URI") from None
    if not parts.scheme:
        raise ValueError(f"{uri} is no libvirt URI, such as qemu+tls://kvm1/system")
    return host or "localhost"


def _without_questions(uri: str) -> str:
    """Return the URI, by which ssh never asks a question on the gateway's terminal."""
    parts = urlsplit(uri)
    if not parts.scheme.endswith("+ssh") or "no_tty=" in parts.query:
        return uri
    return f"{uri}{'&' if parts.query else '?'}no_tty=1"
