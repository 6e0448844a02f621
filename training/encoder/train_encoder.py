"""The whole way from prompts to a static encoder: read, embed with the teacher, judge on a tenth, fit, save."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from policies.encoders.cache import MANIFEST
from policies.encoders.load import BUILT_IN, load_encoder, prepare_encoder
from policies.encoders.static import TABLE
from policies.tables import load_pool
from training.embeddings import embed_prompts
from training.encoder.bags import Bags, Floats, make_bags
from training.encoder.fit_outcomes import OutcomeSettings, Reals, fit_on_outcomes
from training.encoder.fit_static import StaticSettings, checked_target, first_map, fit_static, mean_cosine
from training.encoder.heard import heard_bags, unheard
from training.encoder.prompts import read_prompts
from training.encoder.weights import EncoderFitError, StaticWeights, distilled
from training.threads import one_thread

Progress = Callable[[str, int, int], None]
_ASIDE = 0.1


@dataclass(frozen=True, slots=True)
class TrainEncoder:
    """What to fit to, and where to.

    Attributes:
        prompts: As for ``read_prompts``.
        teacher: ``minilm``, ``minilm-fp32``, a folder or hub id of a sentence-transformers model, or a ``.npy`` matrix
            with one row for each prompt, as ``read_prompts`` gives them.
        outcomes: Fine-tune on the pool's outcomes afterwards; None: no outcome is looked at.
    """

    prompts: Path
    out: Path
    teacher: str = "minilm"
    pools_file: Path | None = None
    pool: str | None = None
    settings: StaticSettings = field(default_factory=StaticSettings)
    outcomes: OutcomeSettings | None = None


def train_encoder(task: TrainEncoder, *, progress: Progress) -> dict[str, Any]:
    """Run the task and write the encoder; returns a summary of plain JSON values.

    The summary's cosines come from a fit without a tenth of the prompts; what is saved is fitted on all of them.

    Raises:
        EncoderFitError: Too few prompts, prompts without text, a matrix of another size, or ``out`` holds something
            that is no static encoder.
        EncoderError: The teacher cannot be opened.
        PoolError: The pool cannot be read.
    """
    _check_out(task.out)
    prompts = read_prompts(task.prompts, pools_file=task.pools_file, pool=task.pool)
    return fit_encoder(prompts, task, progress=progress)


def fit_encoder(prompts: Sequence[str], task: TrainEncoder, *, progress: Progress) -> dict[str, Any]:
    """As ``train_encoder``, on distinct prompts that were read already."""
    _check_out(task.out)
    scores: Reals | None = None
    teacher = teacher_embeddings(task.teacher, prompts, progress=progress)
    if task.outcomes is not None:
        scores = _mean_scores(task, prompts)
    started, start = perf_counter(), distilled()
    judged = held_out_cosines(prompts, teacher, start, task.settings, progress=progress)
    bags, targets = heard_bags(prompts, teacher, start, task.settings)
    fit = fit_static(bags, targets, start, task.settings, progress=progress)
    recipe = {"teacher": Path(task.teacher).name, "n_prompts": len(prompts), "settings": task.settings.as_dict()}
    weights, tuning = fit.weights, dict[str, Any]()
    if scores is not None and task.outcomes is not None:
        originals = bags.pick(np.arange(len(prompts)))
        tuned = fit_on_outcomes(originals, teacher, scores, weights, task.outcomes, progress=progress)
        weights, recipe["outcomes"] = tuned.weights, task.outcomes.as_dict()
        tuning = {"aside_losses": list(tuned.aside_losses)}
    encoder_id = weights.save(task.out, recipe=recipe | {"held_out": judged})
    return {
        "encoder": str(task.out),
        "encoder_id": encoder_id,
        "n_prompts": len(prompts),
        "dim": int(teacher.shape[1]),
        "held_out": judged,
        "losses": list(fit.losses),
        **tuning,
        "seconds": perf_counter() - started,
        "serve": f"encoder: {{name: static, source: {task.out}}}",
    }


def _mean_scores(task: TrainEncoder, prompts: Sequence[str]) -> Reals:
    """Mean score of each arm on each distinct prompt of the pool, shape (n, m)."""
    if task.pools_file is None or task.pool is None or not task.prompts.is_dir():
        raise EncoderFitError("outcomes come from a pool; name a data directory, --pools and --pool")
    table = load_pool(task.prompts, task.pools_file, task.pool)
    row_of = {prompt: row for row, prompt in enumerate(prompts)}
    sums, counts = np.zeros((len(prompts), len(table.arms))), np.zeros((len(prompts), 1))
    for prompt, scores in zip(table.prompts, table.scores, strict=True):
        row = row_of.get(prompt)
        if row is not None:
            sums[row], counts[row] = sums[row] + scores, counts[row] + 1.0
    means: Reals = sums / counts
    return means


def teacher_embeddings(name: str, prompts: Sequence[str], *, progress: Progress) -> Floats:
    """The teacher's embeddings, shape (n, dim); kept on disk by text, so a second run embeds nothing.

    Raises:
        EncoderFitError: A matrix cannot be read or has another number of rows.
        EncoderError: The encoder cannot be opened.
    """
    if name.endswith(".npy"):
        return _matrix(Path(name), len(prompts))
    known, source = (name, None) if name in BUILT_IN else ("sentence-transformers", name)
    prepare_encoder(known, source=source)
    ready = [0]

    def tell(n: int) -> None:
        ready[0] += n
        progress("embedding with the teacher", ready[0], len(prompts))

    return embed_prompts(load_encoder(known, source=source), prompts, progress=tell)


def _matrix(file: Path, n_prompts: int) -> Floats:
    try:
        matrix = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as problem:
        raise EncoderFitError(f"{file}: not readable as a numpy matrix ({type(problem).__name__})") from problem
    if matrix.ndim != 2 or len(matrix) != n_prompts:
        raise EncoderFitError(f"{file}: shape {matrix.shape} for {n_prompts} distinct prompts; give a row for each")
    return np.asarray(matrix, np.float32)


@one_thread("torch")
def held_out_cosines(
    prompts: Sequence[str], teacher: Floats, start: StaticWeights, settings: StaticSettings, *, progress: Progress
) -> dict[str, float]:
    """Mean cosine to the teacher on a tenth of the prompts, by a fit on the rest, their rewordings among it.

    ``distilled`` is that of the start under the best linear map from the same rest, so that both live in one space;
    ``reworded`` is from the tenth in other words to the teacher's embeddings of the originals.
    """
    aside = np.random.default_rng(settings.seed).permutation(len(prompts)) < max(1, round(_ASIDE * len(prompts)))
    used, unseen = ([prompts[row] for row in np.flatnonzero(part).tolist()] for part in (~aside, aside))
    asked = unheard(unseen, seed=settings.seed)

    def tell(what: str, done: int, of: int) -> None:
        progress("judging on a tenth", done, of)

    heard, targets = heard_bags(used, teacher[~aside], start, settings)
    fitted = fit_static(heard, targets, start, settings, progress=tell).weights
    originals, others = (make_bags(texts, start.tokenizer_json, start.bounds) for texts in (unseen, asked))
    mapped = mapped_start(make_bags(used, start.tokenizer_json, start.bounds), teacher[~aside], start)
    return {
        "n": float(aside.sum()),
        "cosine": mean_cosine(fitted.embed(originals), teacher[aside]),
        "cosine_distilled": mean_cosine(mapped.embed(originals), teacher[aside]),
        "cosine_reworded": mean_cosine(fitted.embed(others), teacher[aside]),
        "cosine_reworded_distilled": mean_cosine(mapped.embed(others), teacher[aside]),
    }


@one_thread("torch")
def mapped_start(bags: Bags, teacher: Floats, start: StaticWeights) -> StaticWeights:
    """The start with the linear map that fits the teacher best and its token vectors as they are."""
    return replace(start, map_to_dim=first_map(bags, checked_target(bags, teacher), start))


def _check_out(out: Path) -> None:
    if out.is_file():
        raise EncoderFitError(f"{out} is a file; name a folder")
    if out.is_dir() and any(out.iterdir()) and not ((out / TABLE).is_file() and (out / MANIFEST).is_file()):
        raise EncoderFitError(f"{out} holds something that is no static encoder; name a new or an empty folder")
