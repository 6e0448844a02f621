"""`gearshift serve` says what it cannot do in one line and leaves nothing running."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rig import tree

COMMAND = [str(Path(sys.executable).parent / "gearshift"), "serve"]


def serve(folder: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "c.yaml").write_text(yaml.safe_dump(tree()))
    arguments = [*COMMAND, "--config", "c.yaml", "--store-dir", str(folder / "data"), *options]
    return subprocess.run(
        arguments, capture_output=True, text=True, cwd=folder, env={**os.environ, **env}, timeout=60, check=False
    )


@pytest.mark.slow
def test_a_taken_port_is_told_with_the_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve(tmp_path, "--port", str(port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_open_address_without_keys_is_refused(tmp_path: Path) -> None:
    done = serve(tmp_path, "--host", "0.0.0.0", "--port", "0")
    assert (done.returncode, "tenant has a key" in done.stderr) == (1, True)
    assert not (tmp_path / "data").exists()


def test_a_short_key_secret_is_refused_and_not_shown(tmp_path: Path) -> None:
    done = serve(tmp_path, "--port", "0", GEARSHIFT_KEY_SECRET="canary")
    assert (done.returncode, "shorter than 16" in done.stderr) == (1, True)
    assert "canary" not in done.stderr
