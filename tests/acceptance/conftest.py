"""Fixtures for acceptance tests; `running.py` beside this file starts the real gateway."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Tests are imported by path (importmode=importlib), so the folder of their shared module is named here.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Writes lines where they are seen, whether the test passes or not."""

    def write(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(text if text.endswith("\n") else f"{text}\n")

    return write
