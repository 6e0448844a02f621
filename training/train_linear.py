"""The whole way from an outcome set to a ``linear`` artifact: load, embed, judge on held-out folds, fit, save."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policies.artifact import load_artifact, save_artifact
from policies.encoders.base import Encoder
from policies.encoders.load import load_encoder, prepare_encoder
from policies.tables import Mask, OutcomeTable, split_halves
from policies.zoo.linear import LinearPolicy
from training.embeddings import Floats, embed_prompts
from training.fold_report import evaluation_of, held_out_report, natural_trade_offs
from training.inputs import make_inputs
from training.linear import LinearSettings, fit_linear, make_artifact
from training.records.load import check_learnable, load_outcomes
from training.replay_report import ReplayReport

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class TrainLinear:
    """What to fit on, with which encoder, and where to.

    Attributes:
        data_dir / pools_file / pool / arms / prices_file: As for ``load_outcomes``.
        half: Only the prompts of this side of ``split_halves``; None takes all.
        source: Weights of the encoder, None for its own default.
    """

    data_dir: Path
    pools_file: Path | None
    pool: str | None
    out: Path
    half: int | None = None
    encoder: str = "minilm"
    source: str | None = None
    seed: int = 0
    arms: tuple[str, ...] = ()
    prices_file: Path | None = None


def train_linear(task: TrainLinear, *, progress: Progress) -> tuple[ReplayReport, dict[str, Any]]:
    """Run the task and write its artifact; returns the held-out report and a summary of plain JSON values.

    Raises:
        PoolError, RecordError: The data cannot be read.
        EncoderError: The encoder cannot be opened.
        ArtifactError: The artifact cannot be written there.
    """
    table = load_outcomes(
        task.data_dir,
        pools_file=task.pools_file,
        pool=task.pool,
        arms=task.arms,
        prices_file=task.prices_file,
        progress=progress,
    )
    if task.half is not None:
        table = table.rows(split_halves(table.prompts) == bool(task.half))
    check_learnable(table, task.data_dir)
    prepare_encoder(task.encoder, source=task.source)
    encoder = load_encoder(task.encoder, source=task.source)
    embeddings = _embedded(encoder, table, progress=progress)
    return fit_and_save(table, embeddings, task=task, encoder=encoder, progress=progress)


def fit_and_save(
    table: OutcomeTable, embeddings: Floats, *, task: TrainLinear, encoder: Encoder, progress: Progress
) -> tuple[ReplayReport, dict[str, Any]]:
    """Judge on held-out folds, fit on everything, save, and read back what was saved."""
    settings = LinearSettings(seed=task.seed)
    inputs, fits = make_inputs(table, embeddings), [0]
    n_folds = settings.n_folds

    def fit(mask: Mask) -> LinearPolicy:
        feature_map, ridge, _ = fit_linear(inputs.rows(mask), settings)
        fits[0] += 1
        progress("fitting", fits[0], n_folds + 1)
        return LinearPolicy(feature_map, ridge, arms=table.arm_names, encoder_id=encoder.encoder_id, version="")

    progress("fitting", 0, n_folds + 1)
    trade_offs = natural_trade_offs(table)
    report = held_out_report(table, embeddings, fit, usd_per_correct_answer=trade_offs, n_folds=n_folds, seed=task.seed)
    fitted = fit_linear(inputs, settings)
    progress("fitting", n_folds + 1, n_folds + 1)
    data = {
        "pool": table.name,
        "half": task.half,
        "n_queries": len(table),
        "first": min(table.query_ids),
        "last": max(table.query_ids),
    }
    artifact = make_artifact(
        table, fitted, encoder_id=encoder.encoder_id, settings=settings, data=data, evaluation=evaluation_of(report)
    )
    saved = load_artifact(save_artifact(artifact, task.out, encoder=encoder), encoder=encoder)
    summary = {"artifact": str(task.out), "version": saved.version, "arms": list(table.arm_names), "data": data}
    return report, summary | {"chosen": artifact.training["chosen"], "evaluation": dict(artifact.evaluation)}


def _embedded(encoder: Encoder, table: OutcomeTable, *, progress: Progress) -> Floats:
    ready = np.zeros(1, dtype=np.int64)

    def tell(n: int) -> None:
        ready[0] += n
        progress("embedding prompts", int(ready[0]), len(table))

    return embed_prompts(encoder, table.prompts, progress=tell)
