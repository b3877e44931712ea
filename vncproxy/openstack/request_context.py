"""Who asks nova: an administrator without a name, as nova's own proxies are."""

from __future__ import annotations

from vncproxy.model import new_request_id

_EMPTY = (
    *("user_id", "user_name", "project_id", "project_name", "domain", "user_domain"),
    *("project_domain", "system_scope", "auth_token", "global_request_id", "remote_address"),
)


def new_request_context() -> dict[str, object]:
    """Return the context of one question (``nova.context.get_admin_context().to_dict()``)."""
    return {
        "is_admin": True,
        "is_admin_project": True,
        "roles": [],
        "service_catalog": [],
        "read_deleted": "no",
        "read_only": False,
        "show_deleted": False,
        "request_id": new_request_id(),
        **dict.fromkeys(_EMPTY),
    }
