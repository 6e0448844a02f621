"""What every fitted model of the zoo promises: it finds what is there, invents nothing, and repeats itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.artifact import load_artifact, save_artifact
from policies.errors import PolicyError
from policies.registry import policy_type
from policies.tables import OutcomeTable
from training.inputs import Inputs, make_inputs
from training.zoo.fit import fit_policy
from training.zoo.save import artifact_of
from training.zoo.task import FitTask

NAMES = (
    "global_means", "cluster", "topics", "knn", "logistic", "gbdt", "mf", "irt", "mlp", "two_tower", "blend", "default",
)  # fmt: skip
LEARNED = NAMES[1:]
Fits = dict[str, tuple[Any, dict[str, Any]]]


def task_on(world: OutcomeTable, encoder: Any, *, inputs: Inputs | None = None, seed: int = 0) -> FitTask:
    made = make_inputs(world, encoder.encode(world.prompts)) if inputs is None else inputs
    domains = np.array(world.domains)
    return FitTask(made, world.arms, world.prices, encoder_id=encoder.encoder_id, seed=seed, domains=domains)


def halves(task: FitTask) -> tuple[FitTask, Inputs]:
    first = np.arange(len(task.inputs)) < len(task.inputs) // 2
    return task.rows(first), task.inputs.rows(~first)


@pytest.fixture(scope="module")
def fits() -> Fits:
    """By name what ``fitted`` fitted, once for all tests."""
    return {}


def fitted(name: str, fits: Fits, world: OutcomeTable, encoder: Any) -> tuple[Any, dict[str, Any]]:
    """The policy of a name on the first half of the world, and the facts of its fit."""
    if name not in fits:
        fits[name] = fit_policy(name, halves(task_on(world, encoder))[0])
    return fits[name]


@pytest.mark.parametrize("name", LEARNED)
def test_most_of_what_the_query_tells_is_found(name: str, world: OutcomeTable, encoder: Any, fits: Fits) -> None:
    task, unseen = halves(task_on(world, encoder))
    easy = np.array(world.domains[len(world) // 2 :]) == "easy"
    truth = np.column_stack([np.where(easy, 0.9, 0.1), np.full(len(easy), 0.9)])
    expected = fitted(name, fits, world, encoder)[0].expect(unseen.embeddings, unseen.lexical)
    knowing, means, ours = (
        float(((quality - unseen.scores) ** 2).mean())
        for quality in (truth, task.inputs.scores.mean(axis=0), expected.quality)
    )
    assert ours - knowing < 0.25 * (means - knowing)


@pytest.mark.parametrize("name", LEARNED)
def test_where_labels_carry_no_signal_the_means_remain(name: str, world: OutcomeTable, encoder: Any) -> None:
    task = task_on(world, encoder)
    shuffled = np.random.default_rng(7).permuted(task.inputs.scores, axis=0)
    noise = Inputs(**{part: getattr(task.inputs, part) for part in Inputs.__slots__} | {"scores": shuffled})
    train, unseen = halves(task_on(world, encoder, inputs=noise))
    policy, _ = fit_policy(name, train)
    off = policy.expect(unseen.embeddings, unseen.lexical).quality - train.inputs.scores.mean(axis=0)
    assert float(np.sqrt((off**2).mean())) < 0.06  # the means' own standard error on 300 rows is .03


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bytes(name: str, world: OutcomeTable, encoder: Any, fits: Fits) -> None:
    again = fit_policy(name, halves(task_on(world, encoder))[0])
    one, two = (policy.to_tensors() for policy, _ in (fitted(name, fits, world, encoder), again))
    assert one.keys() == two.keys()
    assert all(one[part].tobytes() == two[part].tobytes() for part in one)


@pytest.mark.parametrize("name", NAMES)
def test_an_artifact_predicts_the_bits_that_were_fitted(
    name: str, tmp_path: Path, world: OutcomeTable, encoder: Any, fits: Fits
) -> None:
    task, unseen = halves(task_on(world, encoder))
    policy, facts = fitted(name, fits, world, encoder)
    folder = save_artifact(artifact_of(policy, task, facts=facts), tmp_path / "art", encoder=encoder)
    loaded = policy_type(name).from_artifact(load_artifact(folder, encoder=encoder))  # type: ignore[attr-defined]
    ours, theirs = (each.expect(unseen.embeddings, unseen.lexical) for each in (policy, loaded))
    assert (ours.quality == theirs.quality).all()
    assert (ours.output_tokens == theirs.output_tokens).all()
    assert loaded.version


@pytest.mark.parametrize("name", NAMES)
def test_a_handful_of_rows_is_enough_to_fit(name: str, world: OutcomeTable, encoder: Any) -> None:
    task = task_on(world, encoder)
    few = task.rows(np.arange(len(task.inputs)) < 12)
    policy, _ = fit_policy(name, few)
    assert np.isfinite(policy.expect(few.inputs.embeddings, few.inputs.lexical).quality).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_arm_that_is_always_right_is_survived(name: str, world: OutcomeTable, encoder: Any) -> None:
    sure = replace(world, scores=np.column_stack([world.scores[:, 0], np.ones(len(world))]))
    train, unseen = halves(task_on(sure, encoder))
    quality = fit_policy(name, train)[0].expect(unseen.embeddings, unseen.lexical).quality
    assert quality[:, 1] == pytest.approx(np.ones(len(unseen)), abs=0.02)


def test_an_unknown_name_is_told_beside_the_known_ones(world: OutcomeTable, encoder: Any) -> None:
    with pytest.raises(PolicyError, match=r"'clever'.*cluster.*knn"):
        fit_policy("clever", task_on(world, encoder))
