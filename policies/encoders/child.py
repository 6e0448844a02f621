"""How a child process runs a module of this very installation, whatever lies in the working directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import policies


def python_module(module: str) -> list[str]:
    """The start of a command line; run it with `module_environment`."""
    # -P keeps a stray policies/ of the working directory out.
    return [sys.executable, "-P", "-m", module]


def module_environment() -> dict[str, str]:
    """This process's environment, with the folder of the running `policies` first on the module path."""
    here = str(Path(policies.__path__[0]).parent)
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([here, inherited] if inherited else [here])}
