import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from policies.arms import Arm
from policies.artifact import MANIFEST, WEIGHTS, Artifact, load_artifact, save_artifact
from policies.errors import ArtifactError, PolicyError, PolicyMismatch
from policies.features import FEATURES_ID
from policies.policy import ArmFacts
from policies.registry import load_policy
from policies.settings import DeclaredPolicy
from policies.zoo.linear import LinearPolicy

ARMS = tuple(ArmFacts(Arm(f"m{i}", "instant")) for i in range(3))


class TinyEncoder:
    """Eight numbers from a text; ``salt`` makes it another encoder under the same id."""

    encoder_id, name, dim = "tiny-1", "tiny", 8

    def __init__(self, salt: int = 0) -> None:
        self._salt = salt

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [np.random.default_rng([self._salt, *text.encode()]).normal(size=8) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def small_artifact() -> Artifact:
    policy = LinearPolicy.example(ARMS)
    return Artifact(
        policy="linear",
        arms=tuple({"name": arm.name} for arm in ARMS[:-1]),
        encoder_id="tiny-1",
        features_id=FEATURES_ID,
        tensors=policy._map.tensors() | policy._ridge.tensors(),
        data={"n_queries": 3},
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_artifact(small_artifact(), tmp_path / "art", encoder=TinyEncoder())


def test_what_is_saved_is_what_is_loaded(saved: Path) -> None:
    artifact, original = load_artifact(saved, encoder=TinyEncoder()), small_artifact()
    assert artifact.data == {"n_queries": 3}
    assert set(artifact.tensors) == set(original.tensors)
    assert all((artifact.tensors[name] == original.tensors[name]).all() for name in original.tensors)
    assert len(artifact.version) == 12


def test_saving_twice_gives_the_same_bytes_and_leaves_nothing_beside(saved: Path) -> None:
    before = {file.name: file.read_bytes() for file in saved.iterdir()}
    save_artifact(small_artifact(), saved, encoder=TinyEncoder())
    assert {file.name: file.read_bytes() for file in saved.iterdir()} == before
    assert os.listdir(saved.parent) == [saved.name]


def edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        change(manifest)
        (folder / MANIFEST).write_bytes(orjson.dumps(manifest))

    return damage


def flip_a_byte(folder: Path) -> None:
    raw = bytearray((folder / WEIGHTS).read_bytes())
    raw[-1] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(raw))


def not_safetensors(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"junk")
    digest = hashlib.sha256(b"junk").hexdigest()
    edit(lambda manifest: manifest.update(files={WEIGHTS: {"sha256": digest}}))(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edit(lambda m: m.update(format=2)), "newer than 1; upgrade"),
        (edit(lambda m: m.update(format="one")), "format 'one' is unknown"),
        (edit(lambda m: m.pop("format")), "format None is unknown"),
        (edit(lambda m: m.update(files={"model.pkl": {}})), "weights.safetensors alone"),
        (edit(lambda m: m.update(files={"../" + WEIGHTS: {}})), "weights.safetensors alone"),
        (edit(lambda m: m.pop("arms")), "not a whole artifact"),
        (flip_a_byte, "hash is not the manifest's"),
        (not_safetensors, "not a whole artifact"),
        (lambda folder: (folder / "model.pkl").write_bytes(b""), "'model.pkl', which its manifest does not list"),
        (lambda folder: (folder / "extra").mkdir(), "'extra', which its manifest does not list"),
        (lambda folder: (folder / WEIGHTS).unlink(), "weights.safetensors"),
        (lambda folder: (folder / MANIFEST).unlink(), "gearshift train"),
        (lambda folder: (folder / MANIFEST).write_bytes(b"{"), "not JSON"),
        (lambda folder: (folder / MANIFEST).write_bytes(b"[]"), "format None is unknown"),
    ],
)
def test_a_damaged_artifact_is_refused(saved: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(saved)
    with pytest.raises(ArtifactError, match=message):
        load_artifact(saved, encoder=TinyEncoder())


def test_another_encoder_is_refused_by_id_or_by_its_vectors(saved: Path) -> None:
    other = TinyEncoder()
    other.encoder_id = "tiny-2"
    for encoder, message in ((None, "there is none"), (other, "this one is tiny-2"), (TinyEncoder(salt=1), "cosine")):
        with pytest.raises(PolicyMismatch, match=message):
            load_artifact(saved, encoder=encoder)


def test_other_features_are_refused(tmp_path: Path) -> None:
    old = save_artifact(replace(small_artifact(), features_id="lexical-0"), tmp_path / "a", encoder=TinyEncoder())
    with pytest.raises(PolicyMismatch, match="lexical-0"):
        load_artifact(old, encoder=TinyEncoder())


def test_a_folder_that_is_no_artifact_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years")
    with pytest.raises(ArtifactError, match="no artifact"):
        save_artifact(small_artifact(), tmp_path / "home", encoder=TinyEncoder())
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years"


def test_the_linear_policy_is_served_from_its_folder(saved: Path) -> None:
    policy = load_policy(DeclaredPolicy("linear", artifact=str(saved)), ARMS, TinyEncoder())
    assert (policy.encoder_id, policy.version) == ("tiny-1", load_artifact(saved, encoder=TinyEncoder()).version)


def test_a_linear_policy_without_a_fitting_artifact_is_refused(saved: Path, tmp_path: Path) -> None:
    stranger = (ArmFacts(Arm("other", "instant")),)
    cases = [
        (None, ARMS, "needs a folder"),
        (str(tmp_path / "no"), ARMS, "gearshift train"),
        (str(saved), stranger, "m0/instant"),
    ]
    for place, arms, message in cases:
        with pytest.raises(PolicyError, match=message):
            load_policy(DeclaredPolicy("linear", artifact=place), arms, TinyEncoder())


@pytest.mark.parametrize("name", ["ridge.weights", "ridge.n_rows", "map.landmarks"])
def test_weights_that_are_missing_misshapen_or_not_finite_are_refused(name: str) -> None:
    whole = small_artifact()
    missing = {key: values for key, values in whole.tensors.items() if key != name}
    broken = whole.tensors[name].copy()
    broken.flat[0] = np.nan
    for tensors in (missing, {**whole.tensors, name: broken}):
        with pytest.raises(ArtifactError):
            LinearPolicy.from_artifact(replace(whole, tensors=tensors))
    with pytest.raises(ArtifactError, match="shape"):
        LinearPolicy.from_artifact(replace(whole, arms=whole.arms[:1]))


def test_promised_floors_come_back_and_an_older_manifest_has_none(saved: Path, tmp_path: Path) -> None:
    assert load_artifact(saved, encoder=TinyEncoder()).floors == {}
    promising = replace(small_artifact(), floors={"reference": "m1/instant", "cells": []})
    again = load_artifact(save_artifact(promising, tmp_path / "other", encoder=TinyEncoder()), encoder=TinyEncoder())
    assert again.floors == promising.floors
    manifest = orjson.loads((saved / MANIFEST).read_bytes())
    del manifest["floors"]
    (saved / MANIFEST).write_bytes(orjson.dumps(manifest))
    assert load_artifact(saved, encoder=TinyEncoder()).floors == {}
