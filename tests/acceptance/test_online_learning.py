"""Whether learning while serving pays, notices a broken arm, and how few answers tell a new one."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from policies.encoders.load import load_encoder
from policies.tables import OutcomeTable, load_pool
from training.anchors.estimate import standing_from_anchors
from training.anchors.exam import make_exam
from training.anchors.rasch import fit_ease
from training.anchors.select import draw_anchors
from training.embeddings import embed_prompts
from training.simulate.scenario import scenarios
from training.simulate.task import Simulate, simulate

POOL, N_ORDERS = "mmlu_pro_7", 5
RIVALS = ("ucb", "thompson", "paretobandit")
N_NEWCOMERS, N_DRAWS = 9, 5

Result = dict[str, Any]


def played(shared_data: Path, scenario: str, players: tuple[str, ...]) -> Result:
    """1,000 labelled rows to start from, the others streamed with feedback on the served arm alone."""
    chosen = Simulate(
        shared_data, shared_data / "pools.json", POOL, scenarios()[scenario], n_warm=1_000, n_orders=N_ORDERS,
        players=players, with_full=False,
    )  # fmt: skip
    return simulate(chosen, encoder=load_encoder("minilm"))


def values(result: Result, policy: str, number: str) -> list[float | None]:
    found: list[float | None] = result["policies"][policy][number]["values"]
    return found


@pytest.fixture(scope="module")
def still(shared_data: Path) -> Result:
    return played(shared_data, "still", ("default", *RIVALS))


@pytest.fixture(scope="module")
def broken(shared_data: Path) -> Result:
    return played(shared_data, "drift", ("default",))


@pytest.mark.accept
@pytest.mark.timeout(3_600)
def test_the_default_policy_beats_the_best_fixed_arm_and_bandits_from_scratch(still: Result) -> None:
    regret = {name: still["policies"][name]["regret"]["mean"] for name in ("default", *RIVALS)}
    assert regret["default"] < 0.0, regret  # the best fixed arm's, in hindsight
    assert all(regret["default"] < regret[rival] for rival in RIVALS), regret


@pytest.mark.accept
@pytest.mark.timeout(3_600)
def test_a_world_that_stays_raises_hardly_an_alarm(still: Result) -> None:
    assert sum(number or 0 for number in values(still, "default", "false_alarms")) <= 1


@pytest.mark.accept
@pytest.mark.timeout(3_600)
def test_a_broken_arm_is_noticed_and_replaced(broken: Result) -> None:
    """From half of the stream on the best arm has lost 45 % of its right answers."""
    delays = values(broken, "default", "alarm_after")
    assert sum(delay is not None and delay <= 150 for delay in delays) >= 4, delays
    last_third = broken["policies"]["default"]["last_third"]["mean"]
    assert last_third >= -0.005, values(broken, "default", "last_third")


@pytest.mark.accept
@pytest.mark.timeout(3_600)
def test_a_hundred_anchors_tell_a_new_arms_mean_within_three_points(shared_data: Path, tmp_path: Path) -> None:
    """Nine arms, evenly over the ranks of those of `mmlu_pro` with all answers, each in turn new to the others."""
    table = all_arms(shared_data, tmp_path)
    embeddings = embed_prompts(load_encoder("minilm"), table.prompts)
    ranked = np.argsort(table.scores.mean(axis=0))
    places = np.linspace(0, len(ranked) - 1, N_NEWCOMERS + 2).round().astype(int)[1:-1]
    errors = np.array([newcomer_errors(table, embeddings, arm) for arm in ranked[places]])  # (arms, 2)
    at_100, at_200 = errors.mean(axis=0)
    assert at_100 <= 0.03, errors
    assert at_200 <= 0.02, errors


def newcomer_errors(table: OutcomeTable, embeddings: NDArray[np.float32], arm: int) -> list[float]:
    """Mean error of the arm's mean score after 100 and after 200 anchors, over draws."""
    scores, ease = table.scores[:, arm], fit_ease(np.delete(table.scores, arm, axis=1))
    told = []
    for k in (100, 200):
        missed = []
        for seed in range(N_DRAWS):
            drawn = draw_anchors(ease, embeddings, k=k, seed=seed)
            standing = standing_from_anchors(make_exam(ease, drawn, table.query_ids), scores[drawn.rows])
            missed.append(abs(standing.quality - scores.mean()))
        told.append(float(np.mean(missed)))
    return told


def all_arms(shared_data: Path, folder: Path) -> OutcomeTable:
    """Every arm of the set that answered nearly all queries, as a pool; prices do not matter here."""
    import pyarrow.parquet as pq

    outcomes = pq.read_table(shared_data / "mmlu_pro" / "outcomes.parquet", columns=["model", "mode"]).to_pylist()
    counts: dict[tuple[str, str], int] = {}
    for row in outcomes:
        counts[row["model"], row["mode"]] = counts.get((row["model"], row["mode"]), 0) + 1
    complete = sorted(arm for arm, n in counts.items() if n > 0.98 * max(counts.values()))
    price = {"usd_per_mtok": {"input": 1.0, "output": 1.0}, "nominal_completion_tokens": 100}
    arms = [{"model": model, "mode": mode} | price for model, mode in complete]
    pools = folder / "pools.json"
    pools.write_bytes(orjson.dumps({"all": {"set": "mmlu_pro", "domain": "subject", "arms": arms}}))
    return load_pool(shared_data, pools, "all")
