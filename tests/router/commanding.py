"""Runs a command line against a configuration, in this process."""

from pathlib import Path

import typer
from typer.testing import CliRunner


def run(command: typer.Typer, config: Path, *words: str) -> str:
    """What it printed; it must succeed."""
    result = CliRunner().invoke(command, [*words, "--config", str(config)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout
