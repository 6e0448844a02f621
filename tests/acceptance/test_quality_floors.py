"""Whether promised quality floors hold as often as they say, and what they save: 500 calibrations of 1,000 rows.

Every row is forecast by a fit of the default policy that had not seen it (5 folds). A draw calibrates on 1,000 of them
and is judged by all, whose mean is the truth to a draw without replacement; the rows not drawn are told beside it.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from policies.encoders.load import load_encoder
from policies.floors import Floors
from policies.tables import OutcomeTable, load_pool
from training.contender import Forecast, Sample
from training.embeddings import embed_prompts
from training.floors.draws import Draws, draw_calibrations
from training.inputs import make_inputs
from training.metrics.curve import best_single, reference_usd
from training.prior.contender import default
from training.splits import k_fold

FLOOR, N_DRAWS, N_CALIBRATION, N_FOLDS = 0.97, 500, 1_000, 5
MOST_BROKEN = 0.07  # 5 % and two standard errors of 500 draws
LEAST_SAVING_PCT = {"mmlu_pro_7": 30.0, "routellm_pair": 0.0}


def held_out(table: OutcomeTable) -> Forecast:
    """Of every row by the folds without it; USD in units of each fit's reference arm, so that one grid of λ serves."""
    encoder = load_encoder("minilm")
    sample = Sample(table, make_inputs(table, embed_prompts(encoder, table.prompts)))
    quality, usd = np.empty(table.scores.shape), np.empty(table.scores.shape)
    far = np.zeros(len(table), dtype=np.bool_)
    for train, test in k_fold(table, N_FOLDS).folds:
        fitted = default(encoder_id=encoder.encoder_id).fit(sample.rows(train), seed=0)
        forecast = fitted.forecast(sample.rows(test))
        unit = reference_usd(table.scores[train], table.usd[train])
        quality[test], usd[test], far[test] = forecast.quality, forecast.usd / unit, forecast.far
    return Forecast(quality, usd, far)


def kept_forecast(table: OutcomeTable) -> Forecast:
    """The same, kept in the folder that GEARSHIFT_ACCEPT_RUNS names, if it names one."""
    folder = os.environ.get("GEARSHIFT_ACCEPT_RUNS")
    if not folder:
        return held_out(table)
    file = Path(folder) / f"floors-{table.name}.npz"
    if not file.is_file():
        forecast = held_out(table)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, quality=forecast.quality, usd=forecast.usd, far=forecast.far)
    with np.load(file, allow_pickle=False) as stored:
        return Forecast(stored["quality"], stored["usd"], stored["far"])


def drawn_of(forecast: Forecast, table: OutcomeTable, *, floor: float = FLOOR) -> Draws:
    floors = Floors(
        reference=table.arm_names[best_single(table.scores, table.usd)],
        arms=tuple(zip(table.arm_names, table.prices, strict=True)),
        quality_per_usd=tuple(np.logspace(-2, 2, 240).tolist()),
        cells=(),
        n_calibration=N_CALIBRATION,
    )
    return draw_calibrations(floors, forecast, table, floor=floor, n_draws=N_DRAWS)


@pytest.mark.accept
@pytest.mark.timeout(5_400)
@pytest.mark.parametrize("pool", LEAST_SAVING_PCT)
def test_a_promised_floor_holds_and_saves(shared_data: Path, pool: str, tell: Callable[[str], object]) -> None:
    table = load_pool(shared_data, shared_data / "pools.json", pool)
    drawn = drawn_of(kept_forecast(table), table)
    tell(f"\n{pool}: {drawn}\n")
    assert drawn.broken <= MOST_BROKEN
    assert drawn.broken_on_rest <= MOST_BROKEN
    assert drawn.saving_pct >= LEAST_SAVING_PCT[pool]
