"""What a starting gateway loads: nothing of what only training, building or single providers need."""

import subprocess
import sys

import pytest

HEAVY = {
    "torch",
    "sklearn",
    "litellm",
    "onnx",
    "pyarrow",
    "transformers",
    "sentence_transformers",
    "xllamacpp",
    "scipy",
}


@pytest.mark.parametrize("module", ["policies.cli", "router.pipeline", "router.app", "router.commands.serve"])
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert HEAVY & set(done.stdout.split()) == set()
