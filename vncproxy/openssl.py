"""What OpenSSL says, in fewer words."""

from __future__ import annotations


def openssl_text(error: BaseException | None) -> str:
    """Return OpenSSL's words for an error, without its libraries' and functions' names."""
    args = error.args if error is not None else ()
    entries = args[0] if args and isinstance(args[0], list | tuple) else []
    return ", ".join(str(entry[-1]) for entry in entries if isinstance(entry, tuple))
