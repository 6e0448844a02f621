"""A copy of a data directory that can be put back: the embedded store at one moment, archive, prices and key secret.

The store writes the copy itself, from a fork, so that it is whole and of one moment while gateways serve. The archive
is copied after it: rows that were archived in between are then in both, and readers drop repeats; none is in neither.
"""

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from router.kept_prices import FOLDER as PRICES
from router.secret import SECRET_FILE
from router.store.base import StoreUnavailable
from router.store.embedded import locked
from router.store.erase import wait_idle
from router.store.keys import SCHEMA

if TYPE_CHECKING:
    import redis

FORMAT = 1
STORE, ARCHIVE, MANIFEST = "store.rdb", "archive", "manifest.json"
DUMP = "dump.rdb"  # what BGSAVE writes
AOF_DIRECTORY, AOF_BASE, AOF_MANIFEST = "appendonlydir", "appendonly.aof.1.base.rdb", "appendonly.aof.manifest"


class BackupUnusable(Exception):
    """The copy is not whole, is of a newer version, or does not belong where it should go."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a copy holds.

    Attributes:
        at: When, POSIX seconds by the store's clock.
        secret_id: Of the key secret in force then.
        files: SHA-256 by path below the copy.
    """

    at: float
    secret_id: str
    schema: int
    files: Mapping[str, str]

    def dump(self) -> bytes:
        told = {
            "format": FORMAT, "at": self.at, "secret_id": self.secret_id, "schema": self.schema,
            "files": dict(self.files),
        }  # fmt: skip
        return orjson.dumps(told, option=orjson.OPT_INDENT_2)


def read_manifest(copy: Path) -> Manifest:
    """Raises BackupUnusable."""
    try:
        told = orjson.loads((copy / MANIFEST).read_bytes())
        manifest = Manifest(told["at"], told["secret_id"], told["schema"], dict(told["files"]))
        is_known = told["format"] == FORMAT and manifest.schema <= SCHEMA
    except OSError as error:
        raise BackupUnusable(f"{copy} holds no backup: {MANIFEST} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BackupUnusable(f"{copy / MANIFEST} is damaged; take another copy") from error
    if not is_known:
        raise BackupUnusable(f"{copy} was written by a newer version; upgrade gearshift")
    return manifest


def back_up(
    client: "redis.Redis", directory: Path, copy: Path, *, at: float, secret_id: str, archive: bool
) -> Manifest:
    """Copy the embedded store of a data directory, the prices that were in force, and its archive if wished, to a
    directory that appears whole.

    Raises:
        BackupUnusable: `copy` exists already.
        StoreUnavailable: The store could not write it; its log says why.
        redis.RedisError, OSError: Likewise; nothing is left but ``<copy>.partial``.
    """
    refuse_existing(copy)
    partial = copy.with_name(f"{copy.name}.partial-{secrets.token_hex(4)}")
    partial.mkdir(mode=0o700, parents=True)
    with _alone(directory):
        _save(client)
        shutil.move(directory / DUMP, partial / STORE)  # left there, it would outlive what is erased later
    if (directory / SECRET_FILE).exists():
        shutil.copy2(directory / SECRET_FILE, partial / SECRET_FILE)
    if archive and (directory / ARCHIVE).is_dir():
        shutil.copytree(directory / ARCHIVE, partial / ARCHIVE, ignore=shutil.ignore_patterns("*.tmp"))
    if (directory / PRICES).is_dir():  # after the rows that name their versions
        shutil.copytree(directory / PRICES, partial / PRICES, ignore=shutil.ignore_patterns("*.partial"))
    names = sorted(path.relative_to(partial).as_posix() for path in partial.rglob("*") if path.is_file())
    manifest = Manifest(at, secret_id, SCHEMA, {name: _digest(partial / name) for name in names})
    (partial / MANIFEST).write_bytes(manifest.dump())
    _sync(partial)
    partial.rename(copy)
    _fsync(copy.parent)
    return manifest


def refuse_existing(copy: Path) -> None:
    """Raises BackupUnusable: something is there already."""
    if copy.exists():
        raise BackupUnusable(f"{copy} exists already; name a new directory")


def restore(copy: Path, directory: Path) -> Manifest:
    """Put a copy into a data directory that holds no store; an archive, prices or key secret that are there stay.

    Raises:
        BackupUnusable: The copy is damaged, or the directory has a store or another key secret.
        StoreBusy: A gateway runs on the directory.
    """
    manifest = read_manifest(copy)
    for name, digest in manifest.files.items():
        if not (copy / name).is_file() or _digest(copy / name) != digest:
            raise BackupUnusable(f"{copy / name} is missing or not what was backed up; nothing was restored")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(directory):
        _refuse_to_replace(copy, directory)
        if (copy / SECRET_FILE).exists():
            shutil.copy2(copy / SECRET_FILE, directory / SECRET_FILE)
        if (copy / ARCHIVE).is_dir() and not (directory / ARCHIVE).exists():
            fresh = directory / f"{ARCHIVE}.partial"
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(copy / ARCHIVE, fresh)
            _sync(fresh)
            fresh.rename(directory / ARCHIVE)
        _place_prices(copy / PRICES, directory / PRICES)
        _place_store(copy / STORE, directory)
    return manifest


def _refuse_to_replace(copy: Path, directory: Path) -> None:
    if (directory / AOF_DIRECTORY).exists():
        raise BackupUnusable(f"{directory} holds a store already; move it away, or restore to another store.dir")
    mine, theirs = directory / SECRET_FILE, copy / SECRET_FILE
    if mine.exists() and theirs.exists() and mine.read_bytes() != theirs.read_bytes():
        raise BackupUnusable(f"{mine} is not the one of the backup, whose keys need theirs; move it away")


def _place_prices(theirs: Path, mine: Path) -> None:
    """Each version that is not there already: a file is named by what is in it."""
    for path in sorted(theirs.glob("*.json")):
        if not (mine / path.name).exists():
            mine.mkdir(exist_ok=True)
            fresh = mine / f"{path.stem}.restored.partial"
            shutil.copyfile(path, fresh)
            _fsync(fresh)
            fresh.rename(mine / path.name)
    if mine.is_dir():
        _fsync(mine)


def _place_store(snapshot: Path, directory: Path) -> None:
    """As the base of an append-only file: a server told to append reads no other file."""
    fresh = directory / f"{AOF_DIRECTORY}.partial"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    shutil.copyfile(snapshot, fresh / AOF_BASE)
    (fresh / AOF_MANIFEST).write_text(f"file {AOF_BASE} seq 1 type b\n")
    _sync(fresh)
    fresh.rename(directory / AOF_DIRECTORY)
    _fsync(directory)


def _save(client: "redis.Redis") -> None:
    wait_idle(client)  # what runs already is of an earlier moment
    client.bgsave()
    wait_idle(client)
    found: Any = client.info("persistence")
    if found["rdb_last_bgsave_status"] != "ok":
        raise StoreUnavailable("the embedded store could not write its copy; valkey.log below store.dir says why")


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One backup at a time: they share the server's one file."""
    with (directory / "backup.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        _fsync(path)


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
