"""Everything the packages import is declared: a dependency that is only there by chance breaks the next install."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
OURS = {"policies", "router", "training", "bench"}


def declared(*extras: str) -> set[str]:
    """Distributions that pyproject.toml asks for, in the core and in ``extras``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def imported(package: str) -> Iterator[tuple[str, str]]:
    """Third-party top-level modules each file names in an import, at its top or inside a function."""
    for path in sorted((ROOT / package).rglob("*.py")):
        if any(part.startswith(".") for part in path.relative_to(ROOT).parts):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for top in {name.partition(".")[0] for name in names} - OURS - set(sys.stdlib_module_names):
                yield path.relative_to(ROOT).as_posix(), top


@pytest.mark.parametrize(
    ("package", "extras"),
    [
        ("policies", ["minilm", "sentence-transformers", "train"]),
        ("router", ["local", "litellm"]),
        ("training", ["train", "encoder", "rivals"]),
        ("bench", ["dev", "rivals"]),
    ],
)
def test_every_import_is_declared(package: str, extras: list[str]) -> None:
    known, providers = declared(*extras), packages_distributions()
    missing = [
        f"{file} imports {module}"
        for file, module in imported(package)
        if not known & {canonicalize_name(name) for name in providers.get(module, [module])}
    ]
    assert missing == []
