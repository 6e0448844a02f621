"""Compiles the two C programs at first use and again when their source changes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


class MissingTool(RuntimeError):
    """A program that the benchmark needs is not installed."""


def require(tool: str) -> str:
    """Path of an installed program.

    Raises:
        MissingTool: It is not on PATH.
    """
    found = shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise MissingTool(f"{tool} is not installed; run bench/setup.sh")
    return found


def build(name: str, *, into: Path = HERE / ".build") -> Path:
    """Path of the compiled `bench/<name>.c`.

    Raises:
        MissingTool: There is no gcc.
        subprocess.CalledProcessError: The source does not compile.
    """
    source = HERE / f"{name}.c"
    target = into / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if target.exists():
        return target
    into.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    subprocess.run([require("gcc"), "-O2", "-Wall", "-Wextra", "-o", fresh, source], check=True)
    fresh.rename(target)
    return target
