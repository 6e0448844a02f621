"""Where rows wait while the store is away: a local file of checksummed records.

A record is ``b"GSR1"``, payload length and CRC-32 (both little-endian u32), payload. The payload is a list of byte
strings, each after its length. A record is written with one write call before the caller goes on, so kill -9 loses
none; a torn tail is cut off at the next opening, and a damaged record in the middle is skipped, counted and kept out
of the replay.
"""

import fcntl
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

log = logging.getLogger(__name__)

MAGIC = b"GSR1"
_HEAD = struct.Struct("<4sII")
_SIZE = struct.Struct("<I")


def encode(fields: Sequence[bytes]) -> bytes:
    """One record."""
    payload = b"".join(_SIZE.pack(len(field)) + field for field in fields)
    return _HEAD.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def _fields(payload: bytes) -> list[bytes]:
    fields, at = [], 0
    while at < len(payload):
        (size,) = _SIZE.unpack_from(payload, at)
        at += _SIZE.size
        fields.append(payload[at : at + size])
        at += size
    return fields


def _record_at(data: bytes, at: int) -> bytes | None:
    """The payload of the sound record at this place, or None."""
    if at + _HEAD.size > len(data):
        return None
    magic, size, checksum = _HEAD.unpack_from(data, at)
    payload = data[at + _HEAD.size : at + _HEAD.size + size]
    if magic != MAGIC or len(payload) != size or zlib.crc32(payload) != checksum:
        return None
    return payload


def scan(data: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """(end of the record, its fields) for every sound record; damage is stepped over to the next record's magic."""
    at = 0
    while at < len(data):
        payload = _record_at(data, at)
        if payload is not None:
            at += _HEAD.size + len(payload)
            yield at, _fields(payload)
            continue
        at = data.find(MAGIC, at + 1)
        if at < 0:
            return


class SpoolTaken(Exception):
    """Another living process owns this spool."""


class Spool:
    """An append-only spool file, owned by one process at a time.

    Attributes:
        waiting: Sound records not yet replayed.
        damaged_bytes: Bytes that were no sound record when the file was opened.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path, self._fd = path, _take(path)
        self.waiting, self.damaged_bytes = 0, 0
        self._recover()

    def _recover(self) -> None:
        data, end, sound = self._read(), 0, 0
        for end, fields in scan(data):  # noqa: B007 -- the last end is what we keep
            self.waiting += 1
            sound += _HEAD.size + sum(_SIZE.size + len(field) for field in fields)
        self.damaged_bytes = len(data) - sound
        if end < len(data):
            os.ftruncate(self._fd, end)
        if self.damaged_bytes:
            kept = self.path.with_suffix(".damaged")
            kept.write_bytes(data)
            log.warning("spool %s: %d damaged bytes are skipped; see %s", self.path.name, self.damaged_bytes, kept)

    def _read(self) -> bytes:
        size, parts, at = os.fstat(self._fd).st_size, [], 0
        while at < size and (part := os.pread(self._fd, size - at, at)):
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def append(self, fields: Sequence[bytes]) -> None:
        """Raises OSError when the record cannot be written whole; the file is then as before."""
        record, before = encode(fields), os.fstat(self._fd).st_size
        try:
            written = os.write(self._fd, record)
            if written != len(record):
                raise OSError(f"spool {self.path}: disk full")
        except OSError:
            os.ftruncate(self._fd, before)
            raise
        self.waiting += 1

    def sync(self) -> None:
        """Make appended records survive a power cut. Blocks; call it in a thread."""
        os.fdatasync(self._fd) if hasattr(os, "fdatasync") else os.fsync(self._fd)

    def records(self) -> list[list[bytes]]:
        """Every sound record, oldest first."""
        return [fields for _, fields in scan(self._read())]

    def clear(self) -> None:
        """Forget all records: the store has them."""
        os.ftruncate(self._fd, 0)
        self.waiting = 0

    def close(self) -> None:
        """Release the file; an empty one is removed."""
        if self.waiting == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)


def _take(path: Path) -> int:
    """The file, locked; never one that its last owner removed between our opening and locking it."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise SpoolTaken(str(path)) from None
        if path.exists() and os.path.samestat(os.fstat(fd), path.stat()):
            return fd
        os.close(fd)


def spool_path(directory: Path, owner: str, n: int) -> Path:
    """Of an owner's n-th spool."""
    return directory / f"{owner}.{n}.spool"


def adopt(directory: Path) -> tuple[list[Spool], set[str]]:
    """The spools that dead processes left in a directory, opened, and the owners of those that are taken: a living
    process's own, and what another one has adopted."""
    adopted, taken = [], set()
    with ExitStack() as opened:
        for path in sorted(directory.glob("*.spool")):
            try:
                adopted.append(opened.enter_context(closing(Spool(path))))
            except SpoolTaken:
                taken.add(path.stem.rpartition(".")[0])
        opened.pop_all()
    return adopted, taken
