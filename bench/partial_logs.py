"""What a log of one answer per query teaches, by its length and exploration: `python -m bench.partial_logs`.

Every query of a pool has every arm's outcome; the logging policy answers each once, the rest is forgotten, the default
policy is trained on what is left and judged on the other folds, where all outcomes are known again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from policies.encoders.load import load_encoder, prepare_encoder
from policies.tables import load_pool
from policies.zoo.rules import RulesPolicy
from training.benchmark.robustness import balanced_trade_off
from training.commands.progress import progress_bars
from training.contender import Sample
from training.embeddings import embed_prompts
from training.inputs import make_inputs
from training.logged.picture import draw_curve
from training.logged.relearn import relearn_folds
from training.metrics.curve import Curve, best_single, hull, lambda_multiples, play, reference_usd
from training.metrics.save import BestSingle, save_pct
from training.splits import k_fold

SHARES = (0.125, 0.25, 0.5, 1.0)
EXPLORE = (0.05, 0.2, 1.0)


def measured(sample: Sample, *, shares: tuple[float, ...], seeds: int) -> list[dict[str, Any]]:
    """One entry per exploration and share of the training rows, means over ``seeds`` sets of folds and logs."""
    table, trade_off = sample.table, balanced_trade_off(sample.table)
    utility = table.scores - trade_off.quality_per_usd * table.usd
    best = np.eye(len(table.arms))[np.full(len(table), int(utility.mean(axis=0).argmax()))]
    found = []
    with progress_bars() as tell:
        for explore in EXPLORE:
            for share in shares:
                rows = []
                for seed in range(seeds):
                    folds = k_fold(table, 5, seed=seed).folds
                    each = relearn_folds(
                        sample, folds, RulesPolicy(), explore=explore, trade_off=trade_off, seed=seed, share=share,
                        progress=tell,
                    )  # fmt: skip
                    gains = [each.gain(sample, trade_off, over=over) for over in (each.logging, best)]
                    rows.append([save97(sample, each.forecast), *gains[0], *gains[1]])
                mean = np.nanmean(rows, axis=0).tolist()
                found.append(
                    {
                        "explore": explore,
                        "rounds": round(0.8 * share * len(table)),
                        "save_97": None if np.isnan(mean[0]) else mean[0],
                        "over_logging": mean[1:4],
                        "over_best_fixed": mean[4:],
                    }
                )
    return found


def save97(sample: Sample, forecast: Any) -> float:
    """Save@97 of a forecast over all rows, percent."""
    table = sample.table
    best = best_single(table.scores, table.usd)
    lambdas = lambda_multiples() / reference_usd(table.scores, table.usd)
    played = play(forecast, lambdas, scores=table.scores, usd=table.usd)
    curve = hull(Curve(played.usd.mean(axis=0), played.scores.mean(axis=0)))
    single = BestSingle(float(table.scores[:, best].mean()), float(table.usd[:, best].mean()))
    return save_pct(curve, single, level="97")


def main() -> None:
    """Measure, print JSON, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--pool", default="mmlu_pro_7")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES))
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    table = load_pool(given.data, given.data / "pools.json", given.pool)
    prepare_encoder(given.encoder)
    sample = Sample(table, make_inputs(table, embed_prompts(load_encoder(given.encoder), table.prompts)))
    found = measured(sample, shares=tuple(given.shares), seeds=given.seeds)
    if given.picture is not None:
        draw_curve(found, given.picture)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
