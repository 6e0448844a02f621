"""Fixtures of learning from logs; worlds and logs are those of off-policy evaluation."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

# Tests are imported by path (importmode=importlib), so the folder of the shared module is named here.
sys.path.insert(0, str(Path(__file__).parents[1] / "ope"))

from logged_world import Row, make_world, write_archive

from training.contender import Sample


@pytest.fixture(scope="session")
def world() -> Sample:
    """2,000 queries of two kinds, three arms."""
    return make_world()


@pytest.fixture
def archive(tmp_path: Path) -> Callable[[Sequence[Row]], Path]:
    """Writes rows as a data directory."""
    return lambda rows: write_archive(tmp_path / "data", rows)
