"""The encoders that the study compares; each is fitted on one fold's training prompts alone and kept in a folder."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from policies import wording
from policies.encoders.base import Encoder, Vectors
from policies.encoders.cache import build_lock, file_sha256
from policies.encoders.load import load_encoder, prepare_encoder
from training.embeddings import embed_prompts
from training.encoder.bags import Floats, make_bags
from training.encoder.finetune_minilm import FinetuneSettings, finetune
from training.encoder.fit_outcomes import OutcomeSettings, blended_teacher, fit_on_outcomes
from training.encoder.fit_static import StaticSettings, fit_static
from training.encoder.heard import heard_bags
from training.encoder.weights import distilled
from training.threads import one_thread

Reals = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

REFERENCE, FITTED, FINETUNED = "minilm", "static-fitted", "minilm-finetuned"
DISTILLED = "static"
READY = (DISTILLED, "minilm", "minilm-fp32")
ENCODERS: tuple[str, ...] = (
    "lexical",
    DISTILLED,
    FITTED,
    "static-outcomes",
    "static-blended",
    "minilm",
    "minilm-fp32",
    FINETUNED,
)
_READ_OUTCOMES = ("static-outcomes", "static-blended", FINETUNED)
FINETUNE_PROMPTS = 3_000
ONE_FOLD = {
    FINETUNED: f"one fold and at most {FINETUNE_PROMPTS:,} of its training prompts: "
    "fine-tuning costs about 0.1 s of a core per prompt"
}
_FITTING = ("bags", "weights", "heard", "fit_static", "fit_outcomes", "finetune_minilm", "study_encoders")
_AROUND = ("rewordings", "phrases", "perturb", "paraphrase", "threads")  # of training
_READING = ("wording", "encoders/bounds", "encoders/spelling", "encoders/words")  # of policies: what becomes a token


class NoEncoder:
    """Gives every text the same vector: what routers do with lexical features alone."""

    encoder_id, name, dim = "lexical-000000000000", "lexical", 8

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The first unit vector for each text, shape (len(texts), 8)."""
        return np.tile(np.eye(1, self.dim, dtype=np.float32), (len(texts), 1))


@dataclass(frozen=True, slots=True)
class FoldData:
    """What an encoder may be fitted on: one fold's training prompts and their outcomes.

    Attributes:
        scores: Shape (n, m).
        folder: Where fitted encoders are kept, one folder for each fit.
    """

    prompts: tuple[str, ...]
    scores: Reals
    folder: Path
    seed: int

    def key(self, name: str, *, teacher_id: str = REFERENCE) -> str:
        """Hash of everything that decides the fit of an encoder: the code included, scores only where it reads any."""
        digest = hashlib.sha256(f"{self.seed} {FINETUNE_PROMPTS} {teacher_id}".encode())
        if name in _READ_OUTCOMES:
            digest.update(f"{self.scores.shape}".encode() + self.scores.tobytes())
        for prompt in self.prompts:
            digest.update(hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest())
        for file in code_of_fitting():
            digest.update(file.read_bytes())
        return digest.hexdigest()[:16]


def code_of_fitting() -> tuple[Path, ...]:
    """The files whose content decides what a fit gives."""
    here = Path(__file__).parent
    policies = Path(wording.__file__).parent
    return (
        *(here / f"{name}.py" for name in _FITTING),
        *(here.with_name(f"{name}.py") for name in _AROUND),
        *(policies / f"{name}.py" for name in _READING),
    )


def encoder_for(
    name: str, fold: FoldData, *, teacher: Encoder | None = None, progress: Progress = lambda what, done, of: None
) -> tuple[Encoder, dict[str, Any]]:
    """The encoder, fitted or taken from an earlier run, with ``fit_s``.

    Args:
        teacher: What a static one is fitted to; None opens the reference.

    Raises:
        EncoderError: Weights that it needs are missing.
    """
    if name == "lexical":
        return NoEncoder(), {"fit_s": 0.0}
    if name in READY:
        prepare_encoder(name)
        return load_encoder(name), {"fit_s": 0.0}
    taught_by = REFERENCE if teacher is None else teacher.encoder_id
    place = fold.folder / f"{name}-{fold.key(name, teacher_id=taught_by)}"
    with build_lock(place):
        facts = _kept_facts(place)
        if facts is None:
            wanted = teacher_of(fold.prompts, teacher, progress=progress)
            start = perf_counter()
            made = _finetune(fold, place, wanted, progress) if name == FINETUNED else None
            made = made or _fit_static(name, fold, place, (taught_by, wanted), progress)
            facts = _keep_facts(place, made | {"fit_s": perf_counter() - start})
    kind = "minilm" if name == FINETUNED else "static"
    prepare_encoder(kind, source=str(place))
    return load_encoder(kind, source=str(place)), facts


def _kept_facts(place: Path) -> dict[str, Any] | None:
    """What is known of the encoder in a folder; None where it is not whole, so that it is fitted again."""
    try:
        facts = orjson.loads(place.with_suffix(".json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    whole = isinstance(facts, dict) and facts.get("content") == _hash_of(place)
    return facts if whole else None


def _keep_facts(place: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Written last, whole or not at all: they say that the folder was finished, and what is in it."""
    told = facts | {"content": _hash_of(place)}
    file = place.with_suffix(".json")
    fresh = file.with_name(f".{file.name}.part")
    fresh.write_bytes(orjson.dumps(told))
    fresh.replace(file)
    return told


def _hash_of(folder: Path) -> str:
    """Of the names and bytes of every file below."""
    digest = hashlib.sha256()
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        digest.update(f"{file.relative_to(folder)} {file_sha256(file)}\n".encode())
    return digest.hexdigest()


def teacher_of(prompts: Sequence[str], teacher: Encoder | None, *, progress: Progress) -> Floats:
    """The teacher's or the reference encoder's embeddings, from the cache where they are ready."""
    if teacher is None:
        prepare_encoder(REFERENCE)
    ready = [0]

    def tell(n: int) -> None:
        ready[0] += n
        progress("embedding with the teacher", ready[0], len(prompts))

    return embed_prompts(teacher or load_encoder(REFERENCE), prompts, progress=tell)


@one_thread("torch")
def _fit_static(
    name: str, fold: FoldData, place: Path, taught: tuple[str, Floats], progress: Progress
) -> dict[str, Any]:
    start, settings = distilled(), StaticSettings(seed=fold.seed)
    taught_by, teacher = taught
    bags = make_bags(fold.prompts, start.tokenizer_json, start.bounds)
    recipe: dict[str, Any] = {"teacher": taught_by, "n_prompts": len(bags), "settings": settings.as_dict()}
    target = teacher
    if name == "static-blended":
        target = blended_teacher(teacher, np.hstack([teacher, start.embed(bags)]), fold.scores, seed=fold.seed)
    weights = fit_static(*heard_bags(fold.prompts, target, start, settings), start, settings, progress=progress).weights
    if name == "static-outcomes":
        outcomes = OutcomeSettings(seed=fold.seed)
        weights = fit_on_outcomes(bags, teacher, fold.scores, weights, outcomes, progress=progress).weights
        recipe["outcomes"] = outcomes.as_dict()
    weights.save(place, recipe=recipe)
    return recipe


def _finetune(fold: FoldData, place: Path, teacher: Floats, progress: Progress) -> dict[str, Any]:
    some = np.sort(np.random.default_rng(fold.seed).permutation(len(fold.prompts))[:FINETUNE_PROMPTS])
    settings = FinetuneSettings(seed=fold.seed)
    prompts = [fold.prompts[row] for row in some]
    finetune(prompts, fold.scores[some], teacher[some], place, settings, progress=progress)
    return {"n_prompts": len(some), "settings": settings.as_dict()}
