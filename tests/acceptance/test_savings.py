"""Savings estimated from logs of one answer per query, judged by a table in which every arm answered."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from policies.encoders.load import load_encoder, prepare_encoder
from policies.tables import load_pool
from policies.tradeoff import TradeOff
from training.contender import Sample
from training.embeddings import embed_prompts
from training.inputs import make_inputs
from training.ope.log import Tally
from training.ope.simulated import SimulatedLog
from training.savings.baseline import Baseline, read_baseline
from training.savings.estimate import saved
from training.savings.rounds import saved_rounds

Reals = NDArray[np.float64]
LOGS, ROUNDS = 170, 4_000  # logs of each of three pairs
Tell = Callable[[str], None]

pytestmark = pytest.mark.accept


@pytest.fixture(scope="module")
def sample(shared_data: Path) -> Sample:
    table = load_pool(shared_data, shared_data / "pools.json", "mmlu_pro_7")
    prepare_encoder("static")
    return Sample(table, make_inputs(table, embed_prompts(load_encoder("static"), table.prompts)))


def pairs(sample: Sample) -> dict[str, tuple[Reals, Baseline]]:
    """Three logging policies with a baseline each."""
    table = sample.table
    n, m = table.scores.shape
    order = table.usd.mean(axis=0).argsort()
    cheapest, dearest = (table.arm_names[place] for place in (order[0], order[-1]))
    even = np.full((n, m), 1.0 / m)
    greedy = np.eye(m)[np.full(n, order[0])]
    by_prompt = np.where((sample.inputs.prompt_tokens > np.median(sample.inputs.prompt_tokens))[:, None], greedy, even)
    return {
        "uniform -> the dearest arm": (even, read_baseline(dearest, table.arm_names)),
        "half cheapest, half uniform -> the dearest arm": (
            0.5 * greedy + 0.5 * even,
            read_baseline(dearest, table.arm_names),
        ),
        "long prompts mostly cheapest, others uniform -> a mixture": (
            0.7 * by_prompt + 0.3 * even,
            read_baseline(f"0.3*{cheapest},0.7*{dearest}", table.arm_names),
        ),
    }


@pytest.mark.timeout(3600)
def test_intervals_of_savings_cover_the_truth_as_often_as_they_say(sample: Sample, tell: Tell) -> None:
    held, total = 0, 0
    for number, (name, (logging, baseline)) in enumerate(pairs(sample).items()):
        shares = np.array([baseline.shares.get(arm, 0.0) for arm in sample.table.arm_names])
        own, effective, widths = 0, [], []
        for seed in range(LOGS):
            rng = np.random.default_rng([number, seed])
            log = SimulatedLog.draw(sample, logging, trade_off=TradeOff(0.0), rng=rng, n_rounds=ROUNDS)
            truth = ROUNDS * (log.truth(np.tile(shares, (len(sample), 1))) - log.truth(logging))[1]
            found = saved(saved_rounds(log, baseline, Tally()), name, own_usd=0.0, predicted=None)
            assert found.saved_usd is not None
            own += found.saved_usd.low <= truth <= found.saved_usd.high
            effective.append(found.support.effective)
            widths.append((found.saved_usd.high - found.saved_usd.low) / truth)
        held, total = held + own, total + LOGS
        tell(
            f"{name}: effective sample size {np.mean(effective):.0f}, interval {np.mean(widths):.0%} of the savings "
            f"wide, covered in {own} of {LOGS}"
        )
    tell(f"covered in {held / total:.1%} of {total} logs")
    assert 0.93 <= held / total <= 0.97
