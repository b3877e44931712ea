"""The files of a directory that may be served, and what is known of each. Pure.

A request opens its file once and looks at what it has opened: that, and no other file of the same
name, is what the answer's type, digest and bytes are of. What has to be computed from a file's
content is kept for as long as its stamp stays the same. The content itself is not: to read a piece
from the kernel's cache takes a microsecond, less than to look at the file, and no memory of ours.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vncproxy.web.inline_hashes import inline_hashes

PIECE_BYTES = 16 * 1024  # as much as a reader that reads nothing makes us hold
_LARGEST_DIGESTED = 4 * 1024 * 1024  # 3 ms; a larger file is told apart by its stamp
_MOST_KNOWN = 4096
# Without O_NONBLOCK a FIFO would hang us; what is no regular file is closed again at once.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NOT_THERE = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EACCES,
        errno.EPERM,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENXIO,
    }
)


class NoSuchFile(Exception):
    """There is no such file, or none that may be served."""


class FileChanged(Exception):
    """A file is no longer the one that was begun to be sent."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is different when a file is another, or has another content.

    Attributes:
        modified_ns: time of its last change.
        size: in bytes.
        inode: which file of its file system it is.
        device: which file system.
    """

    modified_ns: int
    size: int
    inode: int
    device: int

    @classmethod
    def of(cls, descriptor: int) -> Stamp:
        """Return that of an open file."""
        status = os.fstat(descriptor)
        return cls(status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file that may be served.

    Attributes:
        path: without symbolic links.
        stamp: as it was when it was looked at.
        etag: differs when the content does (RFC 9110 §8.8.3).
        inline_hashes: CSP sources of a page's inline content.
    """

    path: bytes
    stamp: Stamp
    etag: bytes
    inline_hashes: tuple[str, ...] = ()

    def read(self, offset: int) -> bytes:
        """Return the piece at this offset.

        The file is opened for each, so that slow readers cost no descriptors.

        Raises:
            FileChanged: the file is another by now.
            OSError: it can't be read.
        """
        with _opened(self.path) as descriptor:
            if Stamp.of(descriptor) != self.stamp:
                raise FileChanged
            piece = os.pread(descriptor, min(PIECE_BYTES, self.stamp.size - offset), offset)
        if not piece:
            raise FileChanged
        return piece


class Directory:
    """A directory of public files.

    No file is found whose name, or that of a directory on its way, begins with a dot, also where a
    symbolic link leads there. Links are followed within the directory only. The directory may be
    a link itself, to be changed when its content is.

    Args:
        path: of the directory.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = os.fsencode(path)
        self._known: OrderedDict[bytes, KnownFile] = OrderedDict()

    def find(self, segments: Sequence[bytes]) -> KnownFile:
        """Return the file that a path names.

        Args:
            segments: of the path, decoded.

        Raises:
            NoSuchFile: there is none that may be served.
            OSError: it can't be found out now.
        """
        if not segments or not all(_is_plain(segment) for segment in segments):
            raise NoSuchFile
        try:
            top = os.path.realpath(self._path)
            path = os.path.realpath(os.path.join(top, *segments))
            below = os.path.join(top, b"")
            if not path.startswith(below):
                raise NoSuchFile
            if not all(_is_plain(segment) for segment in path[len(below) :].split(b"/")):
                raise NoSuchFile
            with _opened(path) as descriptor:
                return self._look(path, descriptor)
        except OSError as error:
            if error.errno in _NOT_THERE:
                raise NoSuchFile from error
            raise

    def _look(self, path: bytes, descriptor: int) -> KnownFile:
        stamp = Stamp.of(descriptor)
        known = self._known.get(path)
        if known is None or known.stamp != stamp:
            known = self._known[path] = _read(path, stamp, descriptor)
        self._known.move_to_end(path)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return known


@contextmanager
def _opened(path: bytes) -> Iterator[int]:
    """Give a descriptor of a regular file.

    Raises:
        NoSuchFile: it is something else.
        OSError: it can't be opened.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NoSuchFile
        yield descriptor
    finally:
        os.close(descriptor)


def _read(path: bytes, stamp: Stamp, descriptor: int) -> KnownFile:
    if stamp.size > _LARGEST_DIGESTED:
        by_stamp = f"{stamp.modified_ns:x}-{stamp.size:x}-{stamp.inode:x}"
        return KnownFile(path, stamp, f'"{by_stamp}"'.encode())
    content = os.pread(descriptor, stamp.size, 0)
    etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'.encode()
    hashes = inline_hashes(content.decode("utf-8", "replace")) if path.endswith(b".html") else ()
    return KnownFile(path, stamp, etag, tuple(hashes))


def _is_plain(segment: bytes) -> bool:
    """Return whether a segment is a file's name, and no other thing to anybody on its way."""
    try:
        name = segment.decode()
    except UnicodeDecodeError:
        return False
    return name.isprintable() and name[:1] not in ("", ".") and not {"/", "\\"} & set(name)
