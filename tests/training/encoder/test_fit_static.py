from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

pytest.importorskip("torch", reason="fitting encoders needs torch: pip install 'gearshift[encoder]'")

from policies.encoders.load import load_encoder
from training.encoder.bags import Bags, unit
from training.encoder.fit_static import StaticSettings, fit_static, mean_cosine
from training.encoder.train_encoder import mapped_start
from training.encoder.weights import EncoderFitError, StaticWeights

SEEN, UNSEEN = slice(0, 400), slice(400, 500)
SETTINGS = StaticSettings(epochs=6, batch=32, learning_rate=2e-2)


def test_the_loss_falls_in_every_epoch_but_perhaps_one(language) -> None:
    losses = fit_static(language.bags(SEEN), language.teacher[SEEN], language.start, SETTINGS).losses
    assert len(losses) == SETTINGS.epochs
    assert losses[-1] < 0.5 * losses[0]
    assert sum(later > earlier for earlier, later in pairwise(losses)) <= 1


def test_a_fitted_encoder_is_closer_to_its_teacher_on_unseen_prompts(language) -> None:
    bags, teacher = language.bags(SEEN), language.teacher[SEEN]
    fitted = fit_static(bags, teacher, language.start, SETTINGS).weights
    before = mapped_start(bags, teacher, language.start)
    near, far = (mean_cosine(each.embed(language.bags(UNSEEN)), language.teacher[UNSEEN]) for each in (fitted, before))
    assert near > 0.95  # the teacher is a sum of word vectors of lower rank, so it can be matched
    assert near > far + 0.02


def test_the_same_seed_gives_the_same_bytes(language, tmp_path: Path) -> None:
    import torch

    files = []
    for name, threads in (("a", 1), ("b", 2)):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        weights = fit_static(language.bags(SEEN), language.teacher[SEEN], language.start, SETTINGS).weights
        assert torch.get_num_threads() == threads
        torch.set_num_threads(before)
        weights.save(tmp_path / name, recipe={"seed": 0})
        files.append((tmp_path / name / "table.safetensors").read_bytes())
    assert files[0] == files[1]


def test_another_seed_gives_other_bytes(language) -> None:
    bags, teacher = language.bags(SEEN), language.teacher[SEEN]
    one, other = (fit_static(bags, teacher, language.start, StaticSettings(epochs=1, seed=seed)) for seed in (0, 1))
    assert not np.array_equal(one.weights.vectors, other.weights.vectors)


def test_a_saved_encoder_serves_what_was_fitted(language, tmp_path: Path) -> None:
    weights = fit_static(language.bags(SEEN), language.teacher[SEEN], language.start, SETTINGS).weights
    encoder_id = weights.save(tmp_path / "fitted", recipe={"teacher": "test"})
    served = load_encoder("static", source=str(tmp_path / "fitted"))
    assert served.encoder_id == encoder_id
    np.testing.assert_allclose(served.encode(language.prompts[UNSEEN]), weights.embed(language.bags(UNSEEN)), atol=1e-5)


def test_a_token_that_no_prompt_holds_keeps_its_vector(language) -> None:
    weights = fit_static(language.bags(SEEN), language.teacher[SEEN], language.start, SETTINGS).weights
    assert np.array_equal(weights.vectors[-1], language.start.vectors[-1])  # "rare"
    assert not np.array_equal(weights.vectors[5], language.start.vectors[5])
    assert np.linalg.norm(weights.embed(Bags(np.array([53]), np.array([0, 1])))) == pytest.approx(1.0, abs=1e-6)


def test_the_length_of_the_teachers_vectors_does_not_matter(language) -> None:
    bags, teacher = language.bags(SEEN), language.teacher[SEEN]
    scaled = teacher * np.float32(4.0)  # a power of two: no rounding
    one, other = (fit_static(bags, each, language.start, StaticSettings(epochs=1)) for each in (teacher, scaled))
    np.testing.assert_allclose(one.weights.vectors, other.weights.vectors, atol=1e-4)


def test_progress_tells_every_step(language) -> None:
    told: list[tuple[str, int, int]] = []
    settings = StaticSettings(epochs=2, batch=100)
    bags, teacher = language.bags(SEEN), language.teacher[SEEN]
    fit_static(bags, teacher, language.start, settings, progress=lambda *step: told.append(step))
    assert [step[1] for step in told] == list(range(9))
    assert {step[2] for step in told} == {8}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda teacher: teacher[:-1], "399 teacher embeddings for 400 prompts"),
        (lambda teacher: teacher * np.float32("nan"), "not finite"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(language, spoil, message: str) -> None:
    with pytest.raises(EncoderFitError, match=message):
        fit_static(language.bags(SEEN), spoil(language.teacher[SEEN]), language.start, SETTINGS)


def test_prompts_without_a_token_are_refused(language) -> None:
    empty = Bags(np.zeros(0, np.int64), np.zeros(3, np.int64))
    with pytest.raises(EncoderFitError, match="no prompt holds a token"):
        fit_static(empty, language.teacher[:2], language.start, SETTINGS)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch": 1}, {"token_dropout": 1.0}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(EncoderFitError, match="epochs"):
        StaticSettings(**wrong)


def test_picked_bags_hold_the_texts_asked_for_and_dropped_tokens_are_gone() -> None:
    bags = Bags(np.array([1, 2, 3, 4, 5]), np.array([0, 2, 2, 5]))
    picked = bags.pick(np.array([2, 1, 0]))
    assert picked.ids.tolist() == [3, 4, 5, 1, 2]
    assert picked.starts.tolist() == [0, 3, 3, 5]
    kept = picked.without(np.array([True, False, True, False, True]))
    assert (kept.ids.tolist(), kept.starts.tolist()) == ([4, 1], [0, 1, 1, 2])
    assert kept.sums(np.eye(6, dtype=np.float32)).sum(axis=1).tolist() == [1.0, 0.0, 1.0]


def test_a_zero_row_becomes_the_first_unit_vector() -> None:
    assert unit(np.array([[0.0, 0.0], [3.0, 4.0]], np.float32)).tolist() == [[1.0, 0.0], pytest.approx([0.6, 0.8])]


def test_the_threads_of_blas_change_no_byte() -> None:
    rng = np.random.default_rng(0)
    ids, starts = rng.integers(500, size=12_000), np.arange(0, 12_001, 8)
    vectors = (1.0 + 1e-3 * rng.normal(size=(500, 256))).astype(np.float32)  # nearly alike: the map is ill-conditioned
    start = StaticWeights(vectors, np.eye(256, dtype=np.float32), b"")
    bags, teacher = Bags(ids, starts), rng.normal(size=(1_500, 128)).astype(np.float32)
    made = []
    for limit in (1, 2):
        with threadpool_limits(limits=limit):
            weights = fit_static(bags, teacher, start, StaticSettings(epochs=1, batch=1_500)).weights
            assert all(pool["num_threads"] == limit for pool in threadpool_info() if pool["user_api"] == "blas")
        made.append((weights.map_to_dim.tobytes(), weights.vectors.tobytes()))
    assert made[0] == made[1]
