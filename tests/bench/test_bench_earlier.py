"""An earlier version of ourselves: its files come out of git, and its gateway runs them."""

import subprocess
from pathlib import Path

import pytest

from bench.gateways import earlier
from bench.gateways.base import Site
from bench.gateways.gearshift import Gearshift
from bench.native import MissingTool


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits, the first with a tag."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.setattr(earlier, "REPOSITORY", folder)

    def git(*arguments: str) -> None:
        named = ("-c", "user.name=bench", "-c", "user.email=bench@example.com")
        subprocess.run(["git", *named, *arguments], cwd=folder, check=True, capture_output=True)

    git("init", "-q")
    for text in ("then", "now"):
        (folder / "file.txt").write_text(text)
        git("add", "file.txt")
        git("commit", "-q", "-m", text)
        if text == "then":
            git("tag", "v1.0")
    return folder


def test_a_tags_files_are_taken_out_once(repository: Path, tmp_path: Path) -> None:
    folder = earlier.checked_out("v1.0", build=tmp_path)
    assert (folder / "file.txt").read_text() == "then"
    (folder / "mark").touch()
    assert (earlier.checked_out("v1.0", build=tmp_path) / "mark").exists()
    assert (earlier.checked_out("HEAD", build=tmp_path) / "file.txt").read_text() == "now"
    assert (repository / "file.txt").read_text() == "now", "the working tree stays as it is"


def test_the_newest_tag_is_found_or_there_is_none(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert earlier.newest_tag() == "v1.0"
    monkeypatch.setattr(earlier, "REPOSITORY", tmp_path)
    assert earlier.newest_tag() is None


def test_a_version_that_is_not_there_is_said_to_be_missing(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingTool, match="no tag or commit 'v9'"):
        earlier.checked_out("v9", build=tmp_path)


def test_its_gateway_runs_its_files(repository: Path, tmp_path: Path) -> None:
    gateway = Gearshift("static", at="v1.0", build=tmp_path)
    launch = gateway.prepare(Site(tmp_path, 1, 2))
    assert gateway.name == "Gearshift at v1.0, static"
    assert launch.env["PYTHONPATH"] == str(earlier.checked_out("v1.0", build=tmp_path))
    assert launch.argv[1] == "-c"
    assert "PYTHONPATH" not in Gearshift("static", build=tmp_path).prepare(Site(tmp_path, 1, 2)).env
