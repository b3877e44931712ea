"""The file of those who may ask: their tokens, hashed, their certificates, and their servers.

It has a section for each caller:

    [alice]
    token = 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b
    servers = web-*, 6f1c2d3e-4b5a-4c6d-8e7f-0123456789ab

    [backup]
    certificate = CN=backup,O=Example
    admin = yes

What a section does not say is None in its entry, and equal to nothing that anybody presents.
"""

from __future__ import annotations

import configparser
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger

from vncproxy.console_api.callers import PREFIX, Caller, Presented
from vncproxy.console_api.faults import Fault
from vncproxy.edge.client_identity import checked_identity

_OPTIONS = frozenset({"token", "certificate", "servers", "projects", "admin"})
_OPTION = re.compile(r"[a-z_]{1,20}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9@._-]{1,64}")
_OF_NOTHING = hashlib.sha256().hexdigest()


class CallersFault(Exception):
    """The file can't be used; the text says where and why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A section.

    Attributes:
        caller: whose it is.
        digest: of their token; None where they have none.
        certificate: whom their certificate names (see ``edge.client_identity``), or None.
    """

    caller: Caller
    digest: str | None
    certificate: str | None


class CallersFile:
    """The file, read again when it has changed.

    Args:
        path: of the file.
    """

    _log = Logger(namespace="vncproxy.api")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: object = None
        self._entries: list[_Entry] = []

    def by_token(self, token: str, user: str | None) -> Caller | None:
        """Return whose token this is; every caller's is compared, in constant time.

        Args:
            token: in the clear.
            user: whose it is said to be; None where that was not said.
        """
        digest = digest_of(token)
        found = None
        for entry in self._current():
            same = entry.digest is not None and hmac.compare_digest(entry.digest, digest)
            if same and user in (None, entry.caller.name):
                found = entry.caller
        return found

    def by_certificate(self, identities: Sequence[str]) -> Caller | None:
        """Return whose certificate this is: of several sections' that it fits, the first one's.

        Args:
            identities: whom it names (see ``edge.client_identity``).
        """
        for entry in self._current():
            if entry.certificate is not None and entry.certificate in identities:
                return entry.caller
        return None

    def _current(self) -> list[_Entry]:
        """Return the entries; a file that can't be used lets nobody in, rather than too many."""
        try:
            status = os.stat(self._path)
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._read_at:
                self._entries, self._read_at = _read(self._path), stamp
        except (CallersFault, OSError) as error:
            self._read_at = None
            reason = str(error) if isinstance(error, CallersFault) else _reason(self._path, error)
            self._log.error("[vncproxy] api_callers_file: {reason}", reason=reason)
            raise Fault(503, "Nobody can be let in now: ask the gateway's operator.") from None
        return self._entries


class TokenAuthenticator:
    """Knows callers by the tokens of the file (see ``callers.Authenticator``)."""

    def __init__(self, file: CallersFile) -> None:
        self._file = file

    async def caller_of(self, presented: Presented) -> Caller | None:
        """Return whose token was presented."""
        if presented.token is None:
            return None
        return self._file.by_token(presented.token, presented.user)


class CertificateAuthenticator:
    """Knows callers by whom their certificates name (see ``callers.Authenticator``)."""

    def __init__(self, file: CallersFile) -> None:
        self._file = file

    async def caller_of(self, presented: Presented) -> Caller | None:
        """Return whose certificate was presented."""
        if presented.certificate is None:
            return None
        return self._file.by_certificate(presented.certificate)


def digest_of(token: str) -> str:
    """Return what the file keeps of a token: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def callers_in(path: Path) -> list[Caller]:
    """Return those whom the file names.

    Raises:
        CallersFault: the file can't be used.
    """
    return [entry.caller for entry in _read(path)]


def add_caller(path: Path, caller: Caller) -> str:
    """Add a caller to the file, which is made where it is missing; return their new token.

    Raises:
        CallersFault: the name is taken or unfit, or the file can't be used.
    """
    if not _NAME.fullmatch(caller.name):
        raise CallersFault("a name has up to 64 letters, digits and @._-")
    for item in (*caller.servers, *caller.projects):
        # Another line would be another option, and what follows a comma another server.
        if item != item.strip() or not item or "," in item or not item.isprintable():
            raise CallersFault(f"{item!r} is no server and no project; give each on its own")
    if path.exists() and caller.name in [known.name for known in callers_in(path)]:
        raise CallersFault(f"{path} has a section [{caller.name}] already; choose another name")
    token = PREFIX + secrets.token_urlsafe(32)
    lines = [f"[{caller.name}]", f"token = {digest_of(token)}"]
    lines += [f"servers = {', '.join(caller.servers)}"] * bool(caller.servers)
    lines += [f"projects = {', '.join(caller.projects)}"] * bool(caller.projects)
    lines += ["admin = yes"] * caller.admin
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = path.read_text(encoding="utf-8-sig") if path.exists() else ""
        new = path.with_name(f".{path.name}.new")
        new.touch(mode=0o600)
        new.write_text(f"{before.rstrip()}\n\n".lstrip() + "\n".join(lines) + "\n", "utf-8")
        if path.exists():
            _keep_owner(path, new)
        new.replace(path)  # whoever reads it meanwhile sees the old file or the new one
    except OSError as error:
        raise CallersFault(_reason(path, error)) from error
    return token


def _keep_owner(old: Path, new: Path) -> None:
    status = old.stat()
    new.chmod(status.st_mode & 0o777)
    if os.geteuid() == 0:
        os.chown(new, status.st_uid, status.st_gid)


def _read(path: Path) -> list[_Entry]:
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except configparser.Error as error:
        # "from None": the error's own text would repeat the line.
        raise CallersFault(f"{path}, line {_line(error)} is malformed") from None
    except UnicodeDecodeError:
        raise CallersFault(f"{path} is no UTF-8") from None
    except OSError as error:
        raise CallersFault(_reason(path, error)) from error
    entries = [_entry(path, parser[name]) for name in parser.sections()]
    _check_that_each_has_their_own(path, entries)
    return entries


def _check_that_each_has_their_own(path: Path, entries: Iterable[_Entry]) -> None:
    """Raise where a token or a certificate could be two callers'."""
    owners: dict[str, str] = {}
    for entry in entries:
        for option, value in (("token", entry.digest), ("certificate", entry.certificate)):
            if value is None:
                continue
            owner = owners.setdefault(value, entry.caller.name)
            if owner != entry.caller.name:
                where = f"{path}: [{entry.caller.name}] {option}"
                raise CallersFault(f"{where} is that of [{owner}] too; each needs their own")


def _entry(path: Path, section: configparser.SectionProxy) -> _Entry:
    where = f"{path}: [{section.name}]"
    unknown = sorted(_OPTIONS.symmetric_difference(section) - _OPTIONS)
    if unknown:
        # A token that was pasted in the wrong place must not be repeated.
        named = unknown[0] if _OPTION.fullmatch(unknown[0]) else "an option"
        raise CallersFault(f"{where} has {named}, which is none of {_named(_OPTIONS)}")
    digest = section.get("token")
    certificate = section.get("certificate")
    if digest is None and certificate is None:
        raise CallersFault(f"{where} has neither token nor certificate")
    if digest is not None and (not _DIGEST.fullmatch(digest) or digest == _OF_NOTHING):
        wrong = "empty" if digest in ("", _OF_NOTHING) else "no SHA-256"
        raise CallersFault(f"{where} token is {wrong}; `vncproxy api-token create` makes one")
    if certificate is not None:
        try:
            certificate = checked_identity(certificate)
        except ValueError as error:
            raise CallersFault(f"{where} certificate {error}") from None
    try:
        admin = section.getboolean("admin", fallback=False)
    except ValueError:
        raise CallersFault(f"{where} admin is neither yes nor no") from None
    caller = Caller(
        section.name, _items(section, "servers"), _items(section, "projects"), bool(admin)
    )
    return _Entry(caller, digest, certificate)


def _items(section: configparser.SectionProxy, option: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in section.get(option, "").split(",") if item.strip())


def _named(options: frozenset[str]) -> str:
    return ", ".join(sorted(options))


def _line(error: configparser.Error) -> object:
    errors = getattr(error, "errors", None)
    return errors[0][0] if errors else getattr(error, "lineno", "?")


def _reason(path: Path, error: OSError) -> str:
    return f"{path}: {error.strerror}"
