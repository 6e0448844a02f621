"""What noisy judgements add to few trusted ones: `python -m bench.noisy_feedback`.

Every query of a pool has every arm's outcome. One arm answers each; a few answers are graded by the recorded score, all
are judged by a thumb, a judge and a coin whose noise is known here and nowhere else. The log's teacher is fitted to
what they said in several ways, and its choices are judged on other queries by recorded outcomes.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from policies.encoders.load import load_encoder, prepare_encoder
from policies.tables import load_pool
from policies.tradeoff import TradeOff
from training.benchmark.robustness import balanced_trade_off
from training.contender import Sample
from training.embeddings import embed_prompts
from training.inputs import Reals, make_inputs
from training.logged.fit import CAUTION
from training.logged.measure import measure
from training.logged.teacher import LogTeacher, fit_teacher
from training.ope.judged import Judged
from training.ope.rounds import Rounds, concatenated
from training.ope.simulated import SimulatedLog

SOURCES = ("thumb", "judge", "coin")
TIMES = (0.3, 1.0, 3.0)  # the balanced trade-off: a thrifty client cares how far arms are apart, not who is best
Labels = tuple[Reals, Reals]


def said_of(quality: Reals, rng: np.random.Generator) -> Reals:
    """What the sources say of answers, shape (n, 3).

    The thumb is up for 75 % of right and 45 % of wrong answers, the judge says .35 more of right ones and scatters by
    .2 within 0..1, the coin is a coin.
    """
    thumb = rng.random(len(quality)) < 0.45 + 0.3 * quality
    judge = np.clip(0.4 + 0.35 * quality + 0.2 * rng.normal(size=len(quality)), 0.0, 1.0)
    return np.column_stack([thumb, judge, rng.random(len(quality)) < 0.5]).astype(np.float64)


def at_face_value(graded: Reals, said: Reals) -> Labels:
    """The mean of what was said, where nothing was graded."""
    return np.where(np.isnan(graded), said.mean(axis=1), graded), np.ones(len(graded))


def as_expected(graded: Reals, said: Reals) -> Labels:
    """The quality to expect of what was said, by least squares where both are there, weighted by its scatter."""
    both = ~np.isnan(graded)
    terms = np.column_stack([np.ones(len(said)), said])
    line = np.linalg.lstsq(terms[both], graded[both], rcond=None)[0]
    left = float((graded[both] - terms[both] @ line).var())
    weight = graded[both].var() / (graded[both].var() + left)
    return np.where(both, graded, terms @ line), np.where(both, 1.0, weight)


def ways(rounds: Rounds, graded: Reals, said: Reals) -> dict[str, Rounds]:
    """The rounds as each way of learning sees them; ``learned noise`` is that of ``gearshift train log``."""
    judged = [Judged(rounds.action, graded, said)]
    noise = measure(judged, reference="score", metrics=SOURCES, arms=rounds.arms)
    told: dict[str, Labels] = {
        "graded alone": (graded, np.ones(len(graded))),
        "at face value": at_face_value(graded, said),
        "as expected": as_expected(graded, said),
        "learned noise": noise.labels(graded, said),
        "all graded": (rounds.quality, np.ones(len(graded))),
    }
    return {
        way: replace(rounds, quality=label, weight=weight).rows(~np.isnan(label))
        for way, (label, weight) in told.items()
    }


def quality_of(teacher: LogTeacher, sample: Sample) -> Reals:
    """What it expects of every arm for queries it has not seen, less its doubt, shape (n, m)."""
    features = teacher.scale(sample.inputs.embeddings, sample.inputs.lexical)
    told = np.mean([model(features)[:, :, 0] for model in teacher.models], axis=0)
    doubt = np.mean([model.doubt(features) for model in teacher.models], axis=0)
    return np.asarray(np.clip(told - CAUTION * doubt, 0.0, 1.0))


def once(sample: Sample, trade_off: TradeOff, *, n_graded: int, seed: int) -> dict[str, tuple[float, ...]]:
    """Of every way: utility × 100 on a fifth of the queries, mean over ``TIMES``, and the error between arms' means."""
    rng, n, m = np.random.default_rng(seed), len(sample.table), len(sample.table.arms)
    test = np.zeros(n, dtype=np.bool_)
    test[rng.permutation(n)[: n // 5]] = True
    train, other = sample.rows(~test), sample.rows(test)
    log = SimulatedLog.draw(train, np.full((len(train.table), m), 1 / m), trade_off=trade_off, rng=rng)
    rounds = concatenated(list(log.chunks()))
    graded = np.full(len(rounds), np.nan)
    kept = rng.permutation(len(rounds))[:n_graded]
    graded[kept] = rounds.quality[kept]
    table, usd = other.table, train.table.usd.mean(axis=0)
    found: dict[str, tuple[float, ...]] = {}
    for way, part in ways(rounds, graded, said_of(rounds.quality, rng)).items():
        told = quality_of(fit_teacher([part], seed=seed), other)
        rows, worth = np.arange(len(table)), []
        for quality_per_usd in trade_off.quality_per_usd * np.array(TIMES):
            chosen = (told - quality_per_usd * usd).argmax(axis=1)
            worth.append((table.scores[rows, chosen] - quality_per_usd * table.usd[rows, chosen]).mean())
        means = told.mean(axis=0) - table.scores.mean(axis=0)
        found[way] = (100.0 * float(np.mean(worth)), 100.0 * float(means.std()))
    return found


def measured(sample: Sample, *, n_graded: int, seeds: int) -> dict[str, Any]:
    """Of every way: means over seeds, and paired differences to two others with their standard errors."""
    trade_off = balanced_trade_off(sample.table)
    runs = [once(sample, trade_off, n_graded=n_graded, seed=seed) for seed in range(seeds)]
    values = {way: np.array([run[way] for run in runs]) for way in runs[0]}
    told: dict[str, Any] = {"graded": n_graded, "seeds": seeds}
    for way, mine in values.items():
        told[way] = {
            name: {
                "mean": float(mine[:, place].mean()),
                "over_graded_alone": _apart(mine[:, place] - values["graded alone"][:, place]),
                "over_face_value": _apart(mine[:, place] - values["at face value"][:, place]),
            }
            for place, name in enumerate(("utility", "error_of_arms_means"))
        }
    return told


def _apart(difference: Reals) -> tuple[float, float]:
    """Mean and standard error."""
    return float(difference.mean()), float(difference.std(ddof=1) / len(difference) ** 0.5)


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--pool", default="mmlu_pro_7")
    parser.add_argument("--encoder", default="static")
    parser.add_argument("--graded", type=int, nargs="+", default=[200, 400, 1000])
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    table = load_pool(given.data, given.data / "pools.json", given.pool)
    prepare_encoder(given.encoder)
    sample = Sample(table, make_inputs(table, embed_prompts(load_encoder(given.encoder), table.prompts)))
    found = [measured(sample, n_graded=each, seeds=given.seeds) for each in given.graded]
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
