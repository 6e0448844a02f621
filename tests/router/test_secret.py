"""The key secret: from the environment or a file that only its owner can read."""

from pathlib import Path

import pytest

from router.secret import VARIABLE, SecretUnusable, key_secret


def test_the_first_start_makes_a_private_file_and_later_ones_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = key_secret(folder, {})
    (path,) = folder.iterdir()
    assert (path.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    assert key_secret(folder, {}) == first == path.read_bytes()
    assert len(first) == 64


def test_two_folders_have_two_secrets(tmp_path: Path) -> None:
    assert key_secret(tmp_path / "a", {}) != key_secret(tmp_path / "b", {})


def test_the_environment_wins_and_writes_nothing(tmp_path: Path) -> None:
    assert key_secret(tmp_path / "data", {VARIABLE: "x" * 16}) == b"x" * 16
    assert not (tmp_path / "data").exists()


def test_a_short_secret_is_refused_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(SecretUnusable, match="shorter than 16") as refused:
        key_secret(tmp_path, {VARIABLE: "too-short"})
    assert "too-short" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    key_secret(tmp_path, {})
    (tmp_path / "key-secret").chmod(mode)
    with pytest.raises(SecretUnusable, match="chmod 600"):
        key_secret(tmp_path, {})


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key-secret"
    path.touch(0o600)
    with pytest.raises(SecretUnusable, match="delete it"):
        key_secret(tmp_path, {})


def test_nothing_but_the_secret_is_left_in_the_folder(tmp_path: Path) -> None:
    key_secret(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["key-secret"]
