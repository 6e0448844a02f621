"""Directories of prepared encoders: published whole or not at all, and verified by hash when opened."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from policies.encoders.base import EncoderCorrupt, EncoderError, EncoderUnavailable

MANIFEST = "manifest.json"
FORMAT = 1


def cache_root(cache_dir: Path | None) -> Path:
    """The folder `encoders` in `cache_dir`, else in `GEARSHIFT_CACHE`, else in `~/.cache/gearshift`."""
    root = cache_dir or Path(os.environ.get("GEARSHIFT_CACHE") or Path.home() / ".cache" / "gearshift")
    return root / "encoders"


def file_sha256(path: Path) -> str:
    """The hex SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Write `manifest.json`: `facts` plus the format number and the SHA-256 of every other file in the folder."""
    files = {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    text = json.dumps({"format": FORMAT, **facts, "files": files}, indent=1, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_verified(folder: Path, *, remedy: str) -> dict[str, Any]:
    """The manifest of a prepared encoder, after every file it names was checked against its hash.

    Raises:
        EncoderUnavailable: The folder holds no manifest, or one of a newer format.
        EncoderCorrupt: A file is missing or differs from the manifest.
    """
    try:
        manifest: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EncoderUnavailable(f"no prepared encoder in {folder}; run: {remedy}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise EncoderCorrupt(f"{folder / MANIFEST} is not JSON; run: {remedy}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise EncoderCorrupt(f"{folder / MANIFEST} lists no files; run: {remedy}")
    if manifest.get("format") != FORMAT:
        raise EncoderUnavailable(
            f"{folder} has format {manifest.get('format')!r}, this version reads {FORMAT}; run: {remedy}"
        )
    for name, expected in manifest["files"].items():
        path = folder / Path(name).name
        if not path.is_file() or file_sha256(path) != expected:
            raise EncoderCorrupt(f"{path} differs from its manifest; run: {remedy}")
    return dict(manifest)


def is_sound(folder: Path) -> bool:
    """Whether the folder holds a prepared encoder with nothing damaged."""
    try:
        read_verified(folder, remedy="")
    except EncoderError:
        return False
    return True


def publish(target: Path, build: Callable[[Path], None]) -> None:
    """Fill a temporary folder with `build` and put it in place of `target` by renaming.

    A reader sees the old folder or the new one, but for the moment between two renames that replace a broken one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        build(temporary)
        temporary.chmod(0o755)  # mkdtemp gives 0700; another user may serve what this one prepared
        if target.exists():
            doomed = Path(tempfile.mkdtemp(prefix=".old-", dir=target.parent))
            target.rename(doomed / target.name)
            temporary.rename(target)
            shutil.rmtree(doomed, ignore_errors=True)
        else:
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def build_lock(target: Path) -> Iterator[None]:
    """Let one process build `target` while others wait; the lock ends with its process."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
