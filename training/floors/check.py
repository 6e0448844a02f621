"""The whole way from an artifact and other outcomes to what became of its floors: load, embed, serve, look up."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies.artifact import load_artifact
from policies.encoders.load import load_encoder
from policies.errors import PolicyError
from policies.floors import SERVED_CONFIDENCE
from policies.registry import policy_type
from policies.tables import split_halves
from policies.zoo.predictive import PredictivePolicy
from training.contender import Sample
from training.embeddings import embed_prompts
from training.floors.realised import as_rows, realised
from training.inputs import make_inputs
from training.records.load import load_outcomes
from training.zoo.contenders import FittedZoo

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class CheckFloors:
    """Which artifact, and which outcomes: not those it was trained or calibrated on.

    Attributes:
        data_dir / pools_file / pool / arms / prices_file: As for ``load_outcomes``.
        half: Only the prompts of this side of ``split_halves``; None takes all.
        encoder / source: Of the gateway that serves the artifact.
    """

    data_dir: Path
    artifact: Path
    pools_file: Path | None = None
    pool: str | None = None
    arms: tuple[str, ...] = ()
    prices_file: Path | None = None
    half: int | None = None
    encoder: str = "minilm"
    source: str | None = None
    seed: int = 0


def check_floors(task: CheckFloors, *, progress: Progress) -> dict[str, Any]:
    """What was realised at every floor, as JSON values.

    Raises:
        PoolError, RecordError: The data cannot be read.
        EncoderError: The encoder cannot be opened.
        PolicyError: The artifact cannot be served, promises no floor, or is of other arms or prices than the data.
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
    encoder = load_encoder(task.encoder, source=task.source)
    artifact = load_artifact(task.artifact, encoder=encoder)
    kind = policy_type(artifact.policy)
    policy = kind.from_artifact(artifact) if isinstance(kind, type) and issubclass(kind, PredictivePolicy) else None
    floors = None if policy is None else policy.floors
    if policy is None or floors is None:
        raise PolicyError(f"{task.artifact} promises no quality floor; train it with --calibration-rows")
    ready = [0]

    def tell(n: int) -> None:
        ready[0] += n
        progress("embedding prompts", ready[0], len(table))

    sample = Sample(table, make_inputs(table, embed_prompts(encoder, table.prompts, progress=tell)))
    forecast = FittedZoo(policy, policy, {}).forecast(sample)
    found = realised(floors, forecast, table, seed=task.seed)
    return {
        "artifact": str(task.artifact),
        "version": artifact.version,
        "pool": table.name,
        "n_queries": len(table),
        "reference": floors.reference,
        "confidence": SERVED_CONFIDENCE,
        "n_calibration": floors.n_calibration,
        "floors": as_rows(found),
    }
