"""Fixtures of the watch: a log of decisions under a floor, and the artifact whose promise is watched."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

# Tests are imported by path (importmode=importlib), so the folders of the shared modules are named here.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "collect"))
sys.path.insert(0, str(Path(__file__).parents[1] / "ope"))

from logged_world import Row, write_archive
from watched_log import CHEAP, DEAR

from policies.artifact import Artifact, load_artifact, save_artifact
from policies.features import FEATURES_ID
from policies.floors import Cell, Floors

Logged = Callable[[Sequence[Row]], Path]


@pytest.fixture
def logged(tmp_path: Path) -> Logged:
    """Writes rows as a data directory, a new one each time."""
    return lambda rows: write_archive(tmp_path / f"data-{len(list(tmp_path.iterdir()))}", rows)


@pytest.fixture
def promising(tmp_path: Path, encoder: Any) -> tuple[Path, str]:
    """An artifact that promises a floor relative to the dear arm, and its version."""
    floors = Floors(DEAR, ((CHEAP, None), (DEAR, None)), (1.0,), (Cell(0.9, 0.95, 0),), 1_000)
    artifact = Artifact("default", (), encoder.encoder_id, FEATURES_ID, {}, floors=floors.as_dict())
    folder = save_artifact(artifact, tmp_path / "artifact", encoder=encoder)
    return folder, load_artifact(folder, encoder=encoder).version
