"""Rules that no linter knows: short files, no pickle, and no name of a registry host or of one machine's folder."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_LINES = 300
FOREIGN = re.compile(
    r"/(?:work|farm|root)/|/opt/(?:wheels|pypi)|pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian|docker[.]io/"
)
PICKLE = re.compile(r"^\s*(?:import|from)\s+(?:pickle|cPickle|dill|cloudpickle|shelve|marshal)\b", re.MULTILINE)
VENDORED = {"tests/deploy/compose-spec.json", "scripts/house_rules.py"}


def project_files() -> list[Path]:
    """Every file git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True, capture_output=True
    )
    return [Path(name) for name in listed.stdout.decode().split("\0") if name and Path(name).is_file()]


def faults(path: Path) -> Iterator[str]:
    """What is wrong with one file, one line each; nothing for a binary or vendored file."""
    if path.as_posix() in VENDORED:
        return
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    if path.suffix == ".py":
        n_lines = text.count("\n")
        if n_lines > MAX_LINES and path.parts[0] != "tests":
            yield f"{path}: {n_lines} lines; look for the second noun inside and keep files under {MAX_LINES}"
        if PICKLE.search(text):
            yield f"{path}: imports a module that loads code from data; store weights as safetensors, JSON or ONNX"
    for found in FOREIGN.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield f"{path}:{line}: names {found.group()!r}; files name no registry host and no machine's folders"


def main() -> int:
    """Print every fault and return the exit status."""
    found = [fault for path in project_files() for fault in faults(path)]
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
