from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the study fits encoders with torch: pip install 'gearshift[encoder]'")
pytest.importorskip("matplotlib", reason="the study draws: pip install 'gearshift[train]'")

from policies.features import lexical_features
from policies.tables import OutcomeTable
from training.benchmark.load import PoolData
from training.benchmark.splits import BenchmarkError
from training.contender import Forecast, Sample
from training.encoder.study import names_of, run_study
from training.encoder.study_encoders import ONE_FOLD
from training.encoder.study_report import PAGE, PICTURE, picture
from training.encoder.study_speed import query_us
from training.rewordings import reworded


@dataclass
class Kinds:
    """Unit vectors of a prompt's kind, right with the given probability; 0.5 knows nothing."""

    name: str
    right: float
    encoder_id: str = ""
    dim: int = 2
    is_quick: bool = True

    def encode(self, texts: Any) -> np.ndarray:
        known = np.array([hash_share(text) < self.right for text in texts])
        easy = np.array([text.startswith("easy") for text in texts])
        return np.eye(2, dtype=np.float32)[(easy == known).astype(int)]


def hash_share(text: str) -> float:
    import hashlib

    return hashlib.sha256(text.encode()).digest()[0] / 256


@dataclass
class Nearest:
    """Means of the training rows with the same embedding."""

    name: str = "nearest"
    needs_labels: bool = False
    fits: list[int] = field(default_factory=list)
    hears_rewordings: bool = False
    heard: list[Sample] = field(default_factory=list)

    def fit(self, train: Sample, *, seed: int) -> Any:
        self.fits.append(len(train))
        self.heard.append(train)
        kinds = train.inputs.embeddings.argmax(axis=1)
        means = [(train.table.scores[kinds == k].mean(axis=0), train.table.usd.mean(axis=0)) for k in (0, 1)]

        def forecast(queries: Sample) -> Forecast:
            asked = queries.inputs.embeddings.argmax(axis=1)
            quality, usd = (np.array([means[k][part] for k in asked]) for part in (0, 1))
            return Forecast(quality, usd, far=np.zeros(len(queries), dtype=np.bool_))

        return SimpleNamespace(forecast=forecast)


RIGHT = {"lexical": 0.5, "minilm": 1.0, "static": 0.9, "minilm-finetuned": 1.0}


@pytest.fixture
def nearest() -> Nearest:
    return Nearest()


@pytest.fixture
def study(tmp_path: Path, world: OutcomeTable, nearest: Nearest) -> Any:
    """Runs the study on the small world."""
    task = SimpleNamespace(
        train=tmp_path, test=None, pools_file=tmp_path, out=tmp_path / "run", pools=("world",), policies=("nearest",),
        split="kfold", n_folds=3, n_seeds=1, seed=0, n_replicates=200,
    )  # fmt: skip

    def run(encoders: str = "lexical,minilm,static,minilm-finetuned") -> dict[str, Any]:
        def opened(name: str, fold: Any, *, progress: Any) -> Any:
            return Kinds(name, RIGHT[name]), {"fit_s": 0.5}

        return run_study(
            task,
            encoders=encoders,
            progress=lambda *step: None,
            make=lambda name: nearest,
            encoder_for=opened,
            load=lambda *place: PoolData(world, identity="world"),
        )

    return SimpleNamespace(run=run, task=task)


def test_an_encoder_that_knows_the_kinds_saves_and_one_that_knows_nothing_does_not(study) -> None:
    rows = study.run()["pools"]["world"]["routers"]["nearest"]
    assert rows["minilm"]["save"]["97"] > 40  # half of the queries go to an arm that costs a hundredth
    assert rows["lexical"]["save"]["97"] < 10
    assert rows["lexical"]["versus"]["save_97"][2] < 0 < rows["minilm"]["contrast_explained_pct"]
    assert "versus" not in rows["minilm"]


def test_an_interval_holds_its_difference(study) -> None:
    value, low, high = study.run()["pools"]["world"]["routers"]["nearest"]["static"]["versus"]["max_accuracy"]
    assert low <= value <= high


def test_an_encoder_of_one_fold_is_compared_on_that_folds_rows(study) -> None:
    rows = study.run()["pools"]["world"]["routers"]["nearest"]
    assert "minilm-finetuned" in ONE_FOLD
    assert rows["minilm"]["n_test"] == 600
    assert rows["minilm-finetuned"]["n_test"] < 300
    assert rows["minilm-finetuned"]["versus"]["save_97"] == [0.0, 0.0, 0.0]  # the same vectors, the same rows


def test_a_second_run_fits_nothing_and_says_the_same(study, nearest: Nearest) -> None:
    first = study.run()
    n_fits = len(nearest.fits)
    second = study.run()
    assert len(nearest.fits) == n_fits == 3 * 3 + 1
    assert first == second


def test_a_router_that_listens_hears_the_training_rows_in_other_words(study, nearest: Nearest) -> None:
    nearest.hears_rewordings = True
    study.run("minilm")
    for train in nearest.heard:
        assert train.reworded is not None
        assert train.reworded.rows.tolist() == list(range(len(train)))  # one of each training row, none of another
        own = [lexical_features(reworded(prompt, seed=study.task.seed)) for prompt in train.table.prompts]
        assert (train.reworded.lexical == np.stack(own)).all()


def test_a_router_that_does_not_listen_is_given_no_rewordings(study, nearest: Nearest) -> None:
    study.run("minilm")
    assert [train.reworded for train in nearest.heard] == [None] * 3


def test_more_seeds_part_anew_and_are_averaged(study, nearest: Nearest) -> None:
    study.task.n_seeds = 2
    result = study.run("minilm")
    row = result["pools"]["world"]["routers"]["nearest"]["minilm"]
    assert len(nearest.fits) == 6
    assert row["n_test"] == 600
    assert "the mean of seeds 0 to 1" in (study.task.out / PAGE).read_text()


def test_the_page_names_every_encoder_and_the_picture_repeats(study) -> None:
    result = study.run()
    page = (study.task.out / PAGE).read_text()
    assert all(f"`{name}`" in page for name in RIGHT)
    assert ONE_FOLD["minilm-finetuned"] in page
    assert (study.task.out / PICTURE).read_bytes() == picture(result)


def test_a_saving_that_is_never_reached_is_null_and_drawn_nowhere(study) -> None:
    result = study.run("minilm")
    rows = result["pools"]["world"]["routers"]["nearest"]["minilm"]
    rows["save"]["97"] = None
    assert picture(result).startswith(b"\x89PNG")


@pytest.mark.parametrize("wrong", ["", "static,bert", ","])
def test_an_unknown_encoder_is_refused_with_the_choice(wrong: str) -> None:
    with pytest.raises(BenchmarkError, match="choose from lexical, static"):
        names_of(wrong)


def test_the_reference_is_always_measured() -> None:
    assert names_of("static") == ("static", "minilm")


def test_a_second_data_directory_is_refused(study) -> None:
    study.task.test = Path("elsewhere")
    with pytest.raises(BenchmarkError, match="leave --test out"):
        study.run()


def test_speed_is_of_single_queries_of_30_and_400_words() -> None:
    seen: list[list[str]] = []

    class Counting:
        encoder_id, name, dim = "counting-1", "counting", 1

        def encode(self, texts: Any) -> np.ndarray:
            seen.append(list(texts))
            return np.ones((len(texts), 1), np.float32)

    found = query_us(Counting(), ["one two three four five"] * 200)
    assert set(found) == {"30", "400"}
    assert min(found.values()) > 0
    assert {len(texts) for texts in seen} == {1}
    assert {len(texts[0].split()) for texts in seen} == {30, 400}
