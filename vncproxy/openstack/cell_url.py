"""URLs in nova's ``cell_mappings``: templates that the reader's own configuration fills."""

from __future__ import annotations

from urllib.parse import urlsplit


def fill(template: str, base_url: str | None) -> str:
    """Return the template with its variables taken from a URL, as nova does since 18.0.0.

    ``{scheme} {username} {password} {hostname} {port} {path} {query} {fragment}``, and, where the
    URL lists several hosts, ``{username1}``, ``{hostname2}`` and so on. A template that can't be
    filled stays as it is.

    Args:
        template: ``cell_mappings.database_connection`` or ``transport_url``.
        base_url: ``[database] connection`` or ``[DEFAULT] transport_url``.
    """
    if not base_url or "{" not in template:
        return template
    try:
        return template.format(**_variables(base_url))
    except (LookupError, ValueError, AttributeError):
        return template


def _variables(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    found: dict[str, object] = {
        "scheme": parts.scheme,
        "path": parts.path.lstrip("/"),
        "query": parts.query,
        "fragment": parts.fragment,
        **_host_variables(parts.netloc, ""),
    }
    hosts = parts.netloc.split(",")
    if len(hosts) > 1:
        for number, host in enumerate(hosts, 1):
            found |= _host_variables(host, str(number))
    return found


def _host_variables(netloc: str, suffix: str) -> dict[str, object]:
    parts = urlsplit(f"//{netloc}")
    return {
        f"username{suffix}": parts.username,
        f"password{suffix}": parts.password,
        f"hostname{suffix}": parts.hostname,
        f"port{suffix}": parts.port,
    }
