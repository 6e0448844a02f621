"""Each Python peer has its own virtual environment under bench/.venvs, from a lock with hashes, bytecode compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.native import HERE, MissingTool

VENVS = HERE / ".venvs"


def python_of(peer: str) -> Path:
    """The peer's interpreter.

    Raises:
        MissingTool: The peer was not installed yet.
    """
    python = VENVS / peer / "bin" / "python"
    if not python.exists():
        raise MissingTool(f"{peer} is not installed; run `python -m bench --install`")
    return python


def version_of(peer: str, distribution: str) -> str:
    """Installed version of a distribution in the peer's environment."""
    code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    return subprocess.run([python_of(peer), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def install(peer: str) -> None:
    """Makes the environment from bench/peers/<peer>.txt and compiles all of its bytecode.

    Without bytecode LiteLLM compiles a failing optional import anew on every request, which triples its figures.

    Raises:
        subprocess.CalledProcessError: A package could not be fetched, or its hash differs.
    """
    home, lock = VENVS / peer, HERE / "peers" / f"{peer}.txt"
    done = home / "installed"
    if done.exists() and done.read_text() == lock.read_text():
        return
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True, env=env)
    pip = [str(python_of(peer)), "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", str(lock)]
    subprocess.run(pip, check=True, env=env)
    # Some packages ship templates that are no valid Python: compileall reports them and its exit status means nothing.
    subprocess.run(
        [str(python_of(peer)), "-m", "compileall", "-q", str(home / "lib")],
        check=False,
        env=env,
        stdout=subprocess.DEVNULL,
    )
    done.write_text(lock.read_text())
