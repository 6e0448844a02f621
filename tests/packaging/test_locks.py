"""The locks against pyproject.toml and against each other."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("serve", "dev", "tools")
PIN = re.compile(r"^([\w.-]+)(?:\[[^\]]*\])?==(\S+)(.*?)(?=^[\w.-]|\Z)", re.MULTILINE | re.DOTALL)
OUTSIDE = {"torch"}


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def pins(lock: str) -> dict[str, set[str]]:
    """Versions of each package; more than one where the Python version decides."""
    found: dict[str, set[str]] = {}
    for name, version, _ in PIN.findall((ROOT / "requirements" / f"{lock}.lock").read_text()):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_carries_a_hash(lock: str) -> None:
    entries = PIN.findall((ROOT / "requirements" / f"{lock}.lock").read_text())
    assert entries
    assert [name for name, _, rest in entries if "--hash=sha256:" not in rest] == []


def test_what_is_tested_is_what_is_served() -> None:
    serve, dev = pins("serve"), pins("dev")
    assert {name: versions for name, versions in serve.items() if dev.get(name) != versions} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_holds_torch_or_its_drivers(lock: str) -> None:
    assert [name for name in pins(lock) if re.match(r"torch|triton|nvidia|cuda", name)] == []


@pytest.mark.parametrize(("lock", "extras"), [("serve", ["minilm", "local"]), ("dev", None)])
def test_the_lock_satisfies_the_declared_ranges(lock: str, extras: list[str] | None) -> None:
    locked, optional = pins(lock), project()["optional-dependencies"]
    declared = project()["dependencies"] + [line for extra in extras or optional for line in optional[extra]]
    for requirement in map(Requirement, declared):
        name = canonicalize_name(requirement.name)
        if name not in OUTSIDE:
            versions = locked.get(name, set())
            assert versions, f"{name} is declared but not in {lock}.lock; run make lock"
            assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_the_poisoned_releases_of_litellm_are_refused() -> None:
    specifier = Requirement(project()["optional-dependencies"]["litellm"][0]).specifier
    assert not any(specifier.contains(version) for version in ("1.82.7", "1.82.8", "1.107.0", "1.107.5"))
    assert specifier.contains("1.106.2")
