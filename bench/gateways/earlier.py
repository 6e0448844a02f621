"""Gearshift as it was at a tag or commit: its files, taken out of git and run by the environment of today."""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

from bench.native import HERE, MissingTool

REPOSITORY = HERE.parent


def newest_tag() -> str | None:
    """The last tag before this commit; None where there is none, or no repository."""
    return _git("describe", "--tags", "--abbrev=0", "HEAD")


def checked_out(ref: str, *, build: Path) -> Path:
    """The folder with the files of that version.

    Raises:
        MissingTool: There is no such tag or commit.
    """
    commit = _git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if commit is None:
        raise MissingTool(f"no tag or commit {ref!r} in {REPOSITORY}; name one of `git log`, or leave --against out")
    folder = build / f"at-{commit[:12]}"
    if not folder.exists():
        archive = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, capture_output=True, check=True).stdout
        fresh = folder.with_name(f".{folder.name}")
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            tar.extractall(fresh, filter="data")
        fresh.rename(folder)
    return folder


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
