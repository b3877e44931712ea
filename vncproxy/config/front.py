"""A front: the listeners for one kind of console."""

from __future__ import annotations

from dataclasses import dataclass

from vncproxy.kinds import Kind


@dataclass(frozen=True, slots=True)
class Front:
    """The listeners for one kind of console.

    Attributes:
        kind: what is served there.
        listeners: the endpoint strings to listen on.
        address_option: the option that changes nova's address for this kind.
        listen_option: the option that takes endpoint strings in its place.
        is_novas: whether it listens at nova's address, and not where ``listen_option`` says.
    """

    kind: Kind
    listeners: tuple[str, ...]
    address_option: str
    listen_option: str
    is_novas: bool

    @property
    def option(self) -> str:
        """The option that has chosen the listeners."""
        return self.address_option if self.is_novas else self.listen_option

    @property
    def options(self) -> str:
        """The options that can move it elsewhere, or leave it out, in words."""
        elsewhere = f"{self.address_option} or {self.listen_option}"
        return f"{elsewhere}, or the kinds of console with [vncproxy] consoles"
