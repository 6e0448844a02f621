"""The whole way from an outcome set to an artifact of any policy of the zoo: load, embed, judge, fit, save."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies.artifact import load_artifact, save_artifact
from policies.encoders.base import Encoder
from policies.encoders.load import load_encoder, prepare_encoder
from policies.tables import Mask, OutcomeTable, split_halves
from policies.zoo.predictive import PredictivePolicy
from training.contender import Sample
from training.embeddings import embed_prompts
from training.fold_report import evaluation_of, held_out_report, natural_trade_offs
from training.inputs import make_inputs
from training.records.load import load_outcomes
from training.replay_report import ReplayReport
from training.zoo.contenders import task_of
from training.zoo.fit import fit_policy
from training.zoo.save import artifact_of

Progress = Callable[[str, int, int], None]
N_FOLDS = 5


@dataclass(frozen=True, slots=True)
class TrainZoo:
    """Which policy to fit on what, with which encoder, and where to.

    Attributes:
        data_dir / pools_file / pool / arms: As for ``load_outcomes``.
        half: Only the prompts of this side of ``split_halves``; None takes all.
        source: Weights of the encoder, None for its own default.
    """

    policy: str
    data_dir: Path
    pools_file: Path | None
    pool: str | None
    out: Path
    half: int | None = None
    encoder: str = "minilm"
    source: str | None = None
    seed: int = 0
    arms: tuple[str, ...] = ()


def train_zoo(task: TrainZoo, *, progress: Progress) -> tuple[ReplayReport, dict[str, Any]]:
    """Run the task and write its artifact; returns the held-out report and a summary of plain JSON values.

    Raises:
        PoolError, RecordError: The data cannot be read.
        EncoderError: The encoder cannot be opened.
        PolicyError: No policy of the zoo has that name, or the artifact cannot be written there.
    """
    table = load_outcomes(task.data_dir, pools_file=task.pools_file, pool=task.pool, arms=task.arms, progress=progress)
    if task.half is not None:
        table = table.rows(split_halves(table.prompts) == bool(task.half))
    prepare_encoder(task.encoder, source=task.source)
    encoder = load_encoder(task.encoder, source=task.source)
    return fit_and_save(_embedded(encoder, table, progress=progress), task=task, encoder=encoder, progress=progress)


def fit_and_save(
    sample: Sample, *, task: TrainZoo, encoder: Encoder, progress: Progress
) -> tuple[ReplayReport, dict[str, Any]]:
    """Judge on held-out folds, fit on everything, save, and read back what was saved."""
    table, fits = sample.table, [0]

    def fit(mask: Mask) -> PredictivePolicy:
        part = sample.rows(mask)
        policy, _ = _fit(part, task, encoder)
        fits[0] += 1
        progress("fitting", fits[0], N_FOLDS + 1)
        return policy

    progress("fitting", 0, N_FOLDS + 1)
    report = held_out_report(
        table,
        sample.inputs.embeddings,
        fit,
        usd_per_correct_answer=natural_trade_offs(table),
        n_folds=N_FOLDS,
        seed=task.seed,
    )
    policy, facts = _fit(sample, task, encoder)
    progress("fitting", N_FOLDS + 1, N_FOLDS + 1)
    ids = table.query_ids
    data = {"pool": table.name, "half": task.half, "n_queries": len(table), "first": min(ids), "last": max(ids)}
    fitted_on = task_of(sample, encoder_id=encoder.encoder_id, seed=task.seed)
    artifact = artifact_of(policy, fitted_on, facts=facts, data=data, evaluation=evaluation_of(report))
    saved = load_artifact(save_artifact(artifact, task.out, encoder=encoder), encoder=encoder)
    summary = {"artifact": str(task.out), "version": saved.version, "arms": list(table.arm_names), "data": data}
    return report, summary | {"facts": facts, "evaluation": dict(artifact.evaluation)}


def _fit(sample: Sample, task: TrainZoo, encoder: Encoder) -> tuple[PredictivePolicy, dict[str, Any]]:
    fit_task = task_of(sample, encoder_id=encoder.encoder_id, seed=task.seed)
    return fit_policy(task.policy, fit_task, seconds=sample.table.seconds)


def _embedded(encoder: Encoder, table: OutcomeTable, *, progress: Progress) -> Sample:
    ready = [0]

    def tell(n: int) -> None:
        ready[0] += n
        progress("embedding prompts", ready[0], len(table))

    return Sample(table, make_inputs(table, embed_prompts(encoder, table.prompts, progress=tell)))
