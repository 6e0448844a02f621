"""The whole way from an outcome set to an artifact of any policy of the zoo: load, embed, judge, fit, save."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from policies.artifact import load_artifact, save_artifact
from policies.encoders.base import Encoder, EncoderError
from policies.encoders.load import load_encoder, prepare_encoder
from policies.floors import Floors
from policies.tables import Mask, OutcomeTable, split_halves
from policies.zoo.predictive import PredictivePolicy
from training.contender import Sample
from training.embeddings import embed_prompts
from training.floors.aside import calibration_mask, usual_rows
from training.floors.calibrate import calibrate
from training.fold_report import evaluation_of, held_out_report, natural_trade_offs
from training.inputs import make_inputs
from training.records.load import check_learnable, load_covered
from training.replay_report import ReplayReport
from training.rewordings import make_reworded, reworded_texts
from training.zoo.contenders import FittedZoo, task_of
from training.zoo.fit import DEFAULT, fit_policy
from training.zoo.save import artifact_of

Progress = Callable[[str, int, int], None]
N_FOLDS = 5
FITTED = "fitted"  # not an encoder's name: the static one, fitted to these very prompts first
UNFITTED = "minilm"


@dataclass(frozen=True, slots=True)
class TrainZoo:
    """Which policy to fit on what, with which encoder, and where to.

    Attributes:
        data_dir / pools_file / pool / arms / prices_file: As for ``load_outcomes``.
        encoder: Its name, or ``fitted``: the static encoder is then fitted to the prompts and kept beside ``out``; or
            empty: ``usual_encoder``.
        half: Only the prompts of this side of ``split_halves``; None takes all.
        calibration_rows: Set aside for the tests of quality floors, never learned from; None: ``usual_rows``.
        source: Weights of the encoder, None for its own default.
    """

    policy: str
    data_dir: Path
    pools_file: Path | None
    pool: str | None
    out: Path
    half: int | None = None
    encoder: str = ""
    source: str | None = None
    seed: int = 0
    arms: tuple[str, ...] = ()
    prices_file: Path | None = None
    calibration_rows: int | None = None

    @property
    def encoder_out(self) -> Path:
        """Where a fitted encoder goes; an artifact's folder holds nothing else."""
        return self.out.with_name(f"{self.out.name}-encoder")


def train_zoo(task: TrainZoo, *, progress: Progress) -> tuple[ReplayReport, dict[str, Any]]:
    """Run the task and write its artifact; returns the held-out report and a summary of plain JSON values.

    Raises:
        PoolError, RecordError: The data cannot be read.
        EncoderError, EncoderFitError: The encoder cannot be opened, or not be fitted.
        PolicyError: No policy of the zoo has that name, the artifact cannot be written there, or the rows to set aside
            are too few or too many.
    """
    table, coverage = load_covered(
        task.data_dir,
        pools_file=task.pools_file,
        pool=task.pool,
        arms=task.arms,
        prices_file=task.prices_file,
        progress=progress,
    )
    if task.half is not None:
        table = table.rows(split_halves(table.prompts) == bool(task.half))
    n_aside = usual_rows(len(table)) if task.calibration_rows is None else task.calibration_rows
    aside = calibration_mask(table.prompts, n_aside, seed=task.seed)
    unseen, table = table.rows(aside), table.rows(~aside)
    check_learnable(table, task.data_dir)
    told: dict[str, Any] = {} if coverage is None else {"coverage": asdict(coverage)}
    if not task.encoder:
        task = replace(task, encoder=usual_encoder(table, task))
    if task.encoder == FITTED:
        told["fitted_encoder"] = _fitted(table, task, progress=progress)
        task = replace(task, encoder="static", source=str(task.encoder_out))
    prepare_encoder(task.encoder, source=task.source)
    encoder = load_encoder(task.encoder, source=task.source)
    sample = embedded(table, task, encoder=encoder, progress=progress)
    calibration = sample_of(unseen, encoder=encoder, progress=progress) if len(unseen) else None
    report, summary = fit_and_save(sample, task=task, encoder=encoder, progress=progress, calibration=calibration)
    return report, summary | told


def usual_encoder(table: OutcomeTable, task: TrainZoo) -> str:
    """``fitted`` for the default policy where there are prompts enough to fit one to, else ``minilm``.

    Raises:
        EncoderError: It would be fitted, and torch is not installed.
    """
    from importlib.util import find_spec

    from training.encoder.prompts import LEAST_PROMPTS

    few = len({prompt for prompt in table.prompts if prompt.strip()}) < LEAST_PROMPTS
    if task.policy != DEFAULT or task.source is not None or few:
        return UNFITTED
    if find_spec("torch") is None:
        raise EncoderError(
            "the default policy's encoder is fitted to its prompts, and no module 'torch' is installed; "
            f"run: pip install 'gearshift[train,encoder]', or train with --encoder {UNFITTED}"
        )
    return FITTED


def _fitted(table: OutcomeTable, task: TrainZoo, *, progress: Progress) -> dict[str, Any]:
    """Fit the static encoder to the prompts, without labels, and save it; its summary."""
    from training.encoder.fit_static import StaticSettings
    from training.encoder.prompts import distinct_prompts
    from training.encoder.train_encoder import TrainEncoder, fit_encoder

    if task.source is not None:
        raise EncoderError("--source names the weights of a ready encoder; --encoder fitted makes its own")
    prompts = distinct_prompts(table.prompts, place=task.data_dir)
    settings = StaticSettings(seed=task.seed)
    return fit_encoder(prompts, TrainEncoder(task.data_dir, task.encoder_out, settings=settings), progress=progress)


def fit_and_save(
    sample: Sample, *, task: TrainZoo, encoder: Encoder, progress: Progress, calibration: Sample | None = None
) -> tuple[ReplayReport, dict[str, Any]]:
    """Judge on held-out folds, fit on all of ``sample``, test the floors on ``calibration``, save, and read back."""
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
    floors = None if calibration is None else floors_of(policy, calibration, fitted_on=table, seed=task.seed)
    fitted_on = task_of(sample, encoder_id=encoder.encoder_id, seed=task.seed)
    evaluation = evaluation_of(report)
    artifact = artifact_of(policy, fitted_on, facts=facts, data=data, evaluation=evaluation, floors=floors)
    saved = load_artifact(save_artifact(artifact, task.out, encoder=encoder), encoder=encoder)
    summary = {"artifact": str(task.out), "version": saved.version, "arms": list(table.arm_names), "data": data}
    summary |= {"facts": facts, "evaluation": dict(artifact.evaluation), "serve": serving_lines(task)}
    return report, summary | {"floors": None if floors is None else floors.as_dict()}


def floors_of(policy: PredictivePolicy, calibration: Sample, *, fitted_on: OutcomeTable, seed: int) -> Floors:
    """What the policy promises, by rows that it has not learned from."""
    forecast = FittedZoo(policy, policy, {}).forecast(calibration)
    return calibrate(forecast, calibration.table, fitted_on=fitted_on, seed=seed)


def sample_of(table: OutcomeTable, *, encoder: Encoder, progress: Progress) -> Sample:
    """The table as a policy sees it, without rewordings."""
    ready = [0]

    def tell(n: int) -> None:
        ready[0] += n
        progress("embedding calibration prompts", ready[0], len(table))

    return Sample(table, make_inputs(table, embed_prompts(encoder, table.prompts, progress=tell)))


def serving_lines(task: TrainZoo) -> list[str]:
    """The lines of a gateway's configuration that serve the artifact with its encoder."""
    encoder = {"name": task.encoder} | ({} if task.source is None else {"source": task.source})
    return [
        f"encoder: {_flow(encoder)}",
        f"policy: {_flow({'name': task.policy, 'artifact': str(task.out)})}",
    ]


def _flow(fields: dict[str, str]) -> str:
    """A YAML mapping on one line; a path with signs that YAML reads is quoted."""
    plain = re.compile(r"[\w./~][\w./~-]*")
    shown = (f"{key}: {value if plain.fullmatch(value) else json.dumps(value)}" for key, value in fields.items())
    return "{" + ", ".join(shown) + "}"


def _fit(sample: Sample, task: TrainZoo, encoder: Encoder) -> tuple[PredictivePolicy, dict[str, Any]]:
    fit_task = task_of(sample, encoder_id=encoder.encoder_id, seed=task.seed)
    return fit_policy(task.policy, fit_task, seconds=sample.table.seconds)


def embedded(table: OutcomeTable, task: TrainZoo, *, encoder: Encoder, progress: Progress) -> Sample:
    """The table as learners see it; for the default policy with the rewordings it learns from in the benchmark."""
    rows, texts = reworded_texts(table.prompts if task.policy == DEFAULT else (), seed=task.seed)
    ready = [0]

    def tell(n: int) -> None:
        ready[0] += n
        progress("embedding prompts", ready[0], len(table) + len(texts))

    inputs = make_inputs(table, embed_prompts(encoder, table.prompts, progress=tell))
    if not texts:
        return Sample(table, inputs)
    reworded = make_reworded(rows, texts, embed=lambda given: embed_prompts(encoder, given, progress=tell))
    return Sample(table, inputs, reworded)
