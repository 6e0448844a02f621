"""What every test may use: the place of the shared outcome tables."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded outcome tables, `../shared/data` beside the repository or `GEARSHIFT_DATA`.

    Without it a test is skipped on a developer's machine and fails where `CI=true`.
    """
    folder = Path(os.environ.get("GEARSHIFT_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "pools.json").is_file():
        reason = f"no outcome tables in {folder}; place the shared data there or set GEARSHIFT_DATA"
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
