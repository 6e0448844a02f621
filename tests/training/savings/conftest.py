"""Fixtures of savings: the worlds and logs of off-policy evaluation, with answers that do not all cost the same."""

import sys
from pathlib import Path

import pytest

# Tests are imported by path (importmode=importlib), so the folders of their shared modules are named here.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "ope"))

from priced_world import priced_world

from training.contender import Sample


@pytest.fixture(scope="session")
def world() -> Sample:
    """2,000 queries of two kinds, three arms; costs are skewed, and lie with the query."""
    return priced_world()
