"""Fixtures for acceptance tests; `running.py` beside this file starts the real gateway."""

import sys
from pathlib import Path

# Tests are imported by path (importmode=importlib), so the folder of their shared module is named here.
sys.path.insert(0, str(Path(__file__).parent))
