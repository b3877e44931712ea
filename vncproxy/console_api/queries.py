"""Which query parameters nova knows, and from which microversion on it refuses others. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from vncproxy.console_api.faults import Fault
from vncproxy.console_api.versions import Microversion

_SHOWN_CHARACTERS = 40
_LISTS_SINCE = Microversion(2, 75)
_OTHERS_SINCE = Microversion(2, 102)
# Nova's filters, most of which only its administrators' requests are followed in. Those that stand
# in the database for tables of their own it refuses in every microversion.
_OF_LISTS = frozenset(
    {
        *("access_ip_v4", "access_ip_v6", "all_tenants", "auto_disk_config"),
        *("availability_zone", "changes-before", "changes-since", "config_drive", "created_at"),
        *("deleted", "description", "display_description", "display_name", "flavor", "host"),
        *("hostname", "image", "image_ref", "ip", "ip6", "kernel_id", "key_name"),
        *("launch_index", "launched_at", "limit", "locked", "locked_by", "marker", "name"),
        *("node", "not-tags", "not-tags-any", "power_state", "progress", "project_id"),
        *("ramdisk_id", "reservation_id", "root_device_name", "soft_deleted", "sort_dir"),
        *("sort_key", "status", "tags", "tags-any", "task_state", "tenant_id", "terminated_at"),
        *("user_id", "uuid", "vm_state"),
    }
)


def check_list_query(names: Iterable[str], version: Microversion) -> None:
    """Check the parameters of a list of servers.

    Raises:
        Fault: 400 where nova knows one of them not, and this microversion must say so.
    """
    if version >= _LISTS_SINCE:
        _refuse(set(names) - _OF_LISTS)


def check_no_query(
    names: Iterable[str], version: Microversion, since: Microversion = _OTHERS_SINCE
) -> None:
    """Check the parameters of what knows none.

    Raises:
        Fault: 400 where there is one, and this microversion must say so.
    """
    if version >= since:
        _refuse(set(names))


def _refuse(unknown: set[str]) -> None:
    if unknown:
        name = min(unknown)[:_SHOWN_CHARACTERS]
        raise Fault(400, f"Invalid input for query parameters: {name!r} is not known here.")
