"""The default policy hears rewordings: it keeps its decisions when a query is dressed otherwise."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from policies.arms import Arm
from policies.features import FEATURE_NAMES
from policies.tables import OutcomeTable
from training.benchmark.robustness import balanced_trade_off, same_arm_pct
from training.benchmark.seeing import SeenTable
from training.contender import Sample
from training.inputs import Inputs, Reals
from training.perturb import perturbations
from training.prior.fit import fit_default
from training.prior.lessons import Lessons, with_rewordings
from training.prior.student_basis import _steadiness
from training.rewordings import Reworded
from training.zoo.contenders import task_of
from training.zoo.task import FitTask


class Topics:
    """Unit vectors of the topic in backticks, blurred by the rest of the text."""

    encoder_id, name, dim = "topics-1", "topics", 8

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self._one(text) for text in texts])

    def _one(self, text: str) -> NDArray[np.float32]:
        blur = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])).normal(size=self.dim)
        vector = 0.8 * blur / np.linalg.norm(blur)
        vector[0] += 1.0 if "`easy1`" in text else -1.0
        return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def dressed(world: OutcomeTable) -> OutcomeTable:
    """The world in two dresses: who asks for something easy asks a question, who asks for something hard commands."""
    prompts = tuple(
        f"What would the thing with number {row} be about `easy1`?"
        if domain == "easy"
        else f"Report on the matter with number {row} about `hard1`."
        for row, domain in enumerate(world.domains)
    )
    return replace(world, prompts=prompts)


def kept_pct(train: Sample, test: OutcomeTable) -> dict[str, float]:
    """Percent of the decisions on ``test`` that stay, by what is changed, of a policy fitted on ``train``."""
    fit = fit_default(task_of(train, encoder_id=Topics.encoder_id, seed=0), members=("knn", "logistic"))
    changes = {name: perturbations()[name] for name in ("paraphrase", "chatter")}
    trade_off = balanced_trade_off(train.table)
    return same_arm_pct(fit.policy, test, embed=Topics().encode, trade_off=trade_off, perturbations=changes)


def test_who_hears_rewordings_keeps_more_decisions(dressed: OutcomeTable) -> None:
    half = np.arange(len(dressed)) < 300
    hearing = SeenTable(dressed, reworded_by=0).rows(half, Topics().encode)
    heard = kept_pct(hearing, dressed.rows(~half))
    deaf = kept_pct(replace(hearing, reworded=None), dressed.rows(~half))
    assert deaf["chatter"] < 90.0  # there is something to learn
    assert heard["chatter"] > deaf["chatter"] + 5.0
    assert sum(heard.values()) > sum(deaf.values())


def made(lexical: Reals) -> Inputs:
    """Inputs of which nothing but the lexical features counts."""
    n = len(lexical)
    embeddings = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    ones = np.ones((n, 2))
    return Inputs(embeddings, lexical.astype(np.float32), ones[:, 0], ones, ones, ones, ones[0])


def test_a_feature_that_moves_is_scaled_down_and_one_that_never_moves_is_left_alone() -> None:
    lexical = np.array([[0.0, 1.0, 3.0, 5.0], [2.0, 4.0, 3.0, 5.0], [0.0, 1.0, 3.0, 5.0], [2.0, 4.0, 3.0, 5.0]])
    inputs = made(lexical)
    moves = np.array([[0.5, 0.0, 1.0, 0.0], [-0.5, 0.0, 1.0, 0.0]])  # of rows 0 and 3
    rows = np.array([0, 3])
    reworded = Reworded(rows, inputs.embeddings[rows], (lexical[rows] + moves).astype(np.float32))
    task = FitTask(inputs, (Arm("a", "instant"), Arm("b", "instant")), (None, None), reworded=reworded)
    kept = _steadiness(task)
    assert kept[0] == pytest.approx(1.0 / (1.0 + 32.0 * 0.25 / 1.0))  # variance 1, mean squared move 0.25
    assert kept[1] == kept[3] == 1.0
    assert kept[2] < 1e-9  # it varied under rewording alone: nothing of it is left


def test_without_rewordings_every_feature_is_left_alone() -> None:
    inputs = made(np.random.default_rng(1).normal(size=(6, len(FEATURE_NAMES))))
    arms = (Arm("a", "instant"), Arm("b", "instant"))
    assert (_steadiness(FitTask(inputs, arms, (None, None))) == 1.0).all()


def test_where_no_query_was_reworded_every_feature_is_left_alone() -> None:
    inputs = made(np.random.default_rng(1).normal(size=(6, len(FEATURE_NAMES))))
    nothing = Reworded(np.zeros(0, np.intp), inputs.embeddings[:0], inputs.lexical[:0])
    arms = (Arm("a", "instant"), Arm("b", "instant"))
    assert (_steadiness(FitTask(inputs, arms, (None, None), reworded=nothing)) == 1.0).all()


def test_what_heads_say_differently_of_a_rewording_is_to_be_undone() -> None:
    inputs = made(np.random.default_rng(1).normal(size=(6, len(FEATURE_NAMES))))
    rows = np.array([1, 4])
    task = FitTask(
        inputs,
        (Arm("a", "instant"), Arm("b", "instant")),
        (None, None),
        reworded=Reworded(rows, inputs.embeddings[rows] + 1.0, inputs.lexical[rows]),
    )
    quality, ones = np.random.default_rng(2).uniform(size=(6, 2)), np.ones((6, 2))
    lessons = Lessons(quality, ones, ones, rest=0.5 * quality)

    def said(queries: Inputs) -> Reals:
        return queries.embeddings[:, :2].astype(np.float64)

    taught, heard = with_rewordings(task, lessons, said)
    assert len(taught) == len(heard.to_learn) == 8
    assert heard.to_learn[:6] == pytest.approx(0.5 * quality)
    # With what the heads say, a rewording comes out as its original does.
    assert heard.to_learn[6:] + said(taught)[6:] == pytest.approx((0.5 * quality + said(inputs))[rows], abs=1e-6)
    assert with_rewordings(replace(task, reworded=None), lessons, said) == (inputs, lessons)
