"""Which decisions of the log the watch asks again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from logged_world import Row
from watched_log import CHEAP, DEAR, decided, traffic

from policies.features import FEATURE_NAMES
from training.floors.askable import ADVICE
from training.floors.sampled import Drawn, Sample, Sampling, sample_log, spoken_for
from training.ope.rounds import EvaluationError

Logged = Callable[[Sequence[Row]], Path]
V = "abc"


def sample(
    folder: Path,
    *,
    share: float = 1.0,
    seed: int = 0,
    seen: Any = (),
    metric: str | None = None,
    newest: float | None = None,
) -> Sample:
    wanted = Sampling(folder, V, DEAR, share, seed, metric)
    return sample_log(wanted, newest=newest, seen=seen, progress=lambda *step: None)


def request_with(feature: str) -> list[float]:
    """Features of a query that has this about it."""
    return [float(name == feature) for name in FEATURE_NAMES]


def ids(drawn: Sequence[Drawn]) -> list[str]:
    return [each.query_id for each in drawn]


def test_every_decision_has_the_same_chance(logged: Logged) -> None:
    drawn = sample(logged(traffic(4_000, version=V)), share=0.25).drawn
    assert len(drawn) == pytest.approx(1_000, abs=4 * np.sqrt(4_000 * 0.25 * 0.75))
    tenths = np.histogram([int(name[1:]) for name in ids(drawn)], bins=10, range=(0, 4_000))[0]
    assert ((tenths - 100) ** 2 / 75).sum() < 27.9  # χ² of ten tenths: above it once in five hundred
    assert np.mean([each.arm == CHEAP for each in drawn]) == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / 1_000))


def test_the_seed_and_nothing_else_decides_who_is_drawn(logged: Logged) -> None:
    rows = traffic(800, version=V)
    early, whole = sample(logged(rows[:400]), share=0.2), sample(logged(rows), share=0.2)
    assert ids(whole.drawn)[: len(early.drawn)] == ids(early.drawn)
    assert ids(sample(logged(rows), share=0.2, seed=1).drawn) != ids(whole.drawn)


def test_what_was_drawn_before_is_not_drawn_again(logged: Logged) -> None:
    rows = traffic(60, version=V)
    before = set(ids(sample(logged(rows[:40])).drawn))
    assert ids(sample(logged(rows), seen=before).drawn) == [f"d{number:05}" for number in range(40, 60)]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"prompt": None}, "prompt not stored"),
        ({"features": []}, "training not allowed"),
        ({"turn": 2}, "a later turn"),
        ({"prompt_tokens": 90}, "a system prompt or other texts"),
        ({"features": request_with("has_tools"), "prompt_tokens": 90}, "tools, an image or a demanded form"),
        ({"features": request_with("has_image")}, "tools, an image or a demanded form"),
        ({"features": request_with("wants_schema")}, "tools, an image or a demanded form"),
        ({"arms": [CHEAP, "other/instant"]}, "nothing promised"),
        ({"trade_off": [1.0, 0.0, 0.9, 0.005]}, "nothing promised"),  # the cap in USD goes before the floor
    ],
)
def test_who_may_not_or_cannot_be_asked_again_is_left_out(logged: Logged, changed: dict[str, Any], why: str) -> None:
    found = sample(logged([decided(0, version=V), decided(1, version=V, **changed)]))
    assert (ids(found.drawn), dict(found.left_out)) == (["d00000"], {why: 1})
    assert ADVICE[why]


@pytest.mark.parametrize(
    "changed", [{"kind": "forced"}, {"trade_off": [1.0, 0.0, 0.0, None]}, {"policy": "default@other"}]
)
def test_what_the_artifact_did_not_decide_under_a_floor_is_none_of_the_watch(
    logged: Logged, changed: dict[str, Any]
) -> None:
    found = sample(logged([decided(0, version=V), decided(1, version=V, **changed)]))
    assert (found.n_under_floor, ids(found.drawn), dict(found.left_out)) == (1, ["d00000"], {})


def test_a_policy_that_learns_while_it_serves_is_the_artifact_still(logged: Logged) -> None:
    assert len(sample(logged([decided(0, version=V, policy=f"default@{V}+17")])).drawn) == 1


def test_who_decided_since_the_newest_that_was_drawn_is_counted(logged: Logged) -> None:
    log = logged([decided(at, version=V if at < 4 else "old") for at in range(8)])
    first, *_ = sample(log).drawn
    found = sample(log, newest=first.at, seen={first.query_id})
    assert (found.n_known, len(found.drawn)) == (1, 3)
    assert dict(found.n_newer) == {f"default@{V}": 3, "default@old": 4}
    assert not sample(log).n_newer  # none had been drawn


def test_one_in_ten_that_the_reference_arm_served_is_asked_and_counts_for_ten(logged: Logged) -> None:
    drawn = sample(logged(traffic(2_000, version=V, cheap_share=0.0))).drawn
    weights = np.array([each.weight for each in drawn])
    assert set(weights) == {0, 10}
    assert weights.mean() == pytest.approx(1.0, abs=4 * np.sqrt(9 / 2_000))
    assert all((each.prompt is not None) == (each.weight > 0) for each in drawn)


@pytest.mark.parametrize(("floor", "k"), [(0.3, 1), (0.5, 2), (0.8, 5), (0.9, 10), (0.97, 10), (1.0, 10)])
def test_one_never_speaks_for_more_than_its_difference_can_hold(floor: float, k: int) -> None:
    assert spoken_for(floor) == k
    assert k * (1.0 - floor) <= 1.0 + 1e-9


def test_feedback_of_the_same_grader_spares_an_answer(logged: Logged) -> None:
    rows = [decided(0, version=V, score=0.5), decided(1, version=V, served=DEAR, score=1.0)]
    cheap, dear = sample(logged(rows), metric="score").drawn
    assert (cheap.score, cheap.weight, cheap.prompt) == (0.5, 1, "Question 0?")
    assert (dear.score, dear.weight, dear.prompt) == (1.0, 1, None)
    assert sample(logged(rows)).drawn[0].score is None  # nobody said who graded it


def test_a_folder_without_a_log_and_a_metric_beyond_its_range_are_told(logged: Logged, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no archive/decisions there"):
        sample(tmp_path)
    with pytest.raises(EvaluationError, match=r"values outside 0\.\.1"):
        sample(logged([decided(0, version=V, score=7.0)]), metric="score")
