"""The chosen anchors with all that is needed to read their outcomes later: weights, and how easy each of them is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from policies.zoo.sigmoid import sigmoid
from training.anchors.rasch import Ease, chance_of, strength_of
from training.anchors.select import Drawn

Reals = NDArray[np.float64]
FORMAT = 1


class AnchorError(ValueError):
    """Anchors cannot be chosen, or their outcomes cannot be read; the message names the file and what is missing."""


@dataclass(frozen=True, slots=True)
class Exam:
    """k anchors that stand for a table's queries.

    Attributes:
        ids: Of the queries, k of them.
        weight: Share of all queries that each stands for, sums to 1, shape (k,).
        points: Grid of ease in logits, shape (p,).
        share: Posterior probability of each point for each anchor, shape (k, p).
        overall: The same on average over all queries of the table, shape (p,).
        usual_strength: Mean strength of the arms that are known, in logits.
    """

    ids: tuple[str, ...]
    weight: Reals
    points: Reals
    share: Reals
    overall: Reals
    usual_strength: float

    def __len__(self) -> int:
        return len(self.ids)

    def mean_chance(self, strength: float) -> float:
        """Mean quality over the table's queries of an arm of this strength."""
        return float(self.overall @ sigmoid(strength + self.points))

    def chance(self, strength: float) -> Reals:
        """Its expected score on each anchor, shape (k,)."""
        return chance_of(self.share, strength, self.points)

    def strength_of(self, mean_quality: float) -> float:
        """The inverse of ``mean_chance``."""
        return strength_of(self.overall, mean_quality, self.points)

    def only(self, answered: NDArray[np.bool_]) -> "Exam":
        """The anchors that were answered, their weights scaled to sum to 1."""
        kept = np.flatnonzero(answered)
        weight = self.weight[kept] / self.weight[kept].sum()
        ids = tuple(self.ids[row] for row in kept)
        return Exam(ids, weight, self.points, self.share[kept], self.overall, self.usual_strength)


def make_exam(ease: Ease, drawn: Drawn, query_ids: tuple[str, ...]) -> Exam:
    """The drawn rows of a table whose queries are ``query_ids``."""
    return Exam(
        ids=tuple(query_ids[row] for row in drawn.rows),
        weight=drawn.weight,
        points=ease.points,
        share=ease.share[drawn.rows],
        overall=ease.share.mean(axis=0),
        usual_strength=float(ease.strength.mean()),
    )


def save_exam(exam: Exam, file: Path) -> None:
    """Write it as JSON; it holds ids and numbers, no prompts."""
    parts: dict[str, Any] = {"format": FORMAT, "ids": list(exam.ids), "usual_strength": exam.usual_strength}
    arrays = {name: getattr(exam, name) for name in ("weight", "points", "share", "overall")}
    file.write_bytes(orjson.dumps(parts | arrays, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")


def load_exam(file: Path) -> Exam:
    """The inverse of ``save_exam``.

    Raises:
        AnchorError: It is missing, no such file, or its parts do not belong together.
    """
    try:
        read = orjson.loads(file.read_bytes())
        if read["format"] != FORMAT:
            raise AnchorError(f"{file}: format {read['format']!r} is unknown; choose the anchors again")
        weight, points, share, overall = (
            np.array(read[name], dtype=np.float64) for name in ("weight", "points", "share", "overall")
        )
        exam = Exam(tuple(map(str, read["ids"])), weight, points, share, overall, float(read["usual_strength"]))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        if isinstance(problem, AnchorError):
            raise
        raise AnchorError(f"{file}: no plan written by `gearshift train anchors` ({problem})") from problem
    k, p = len(exam), len(points)
    if (weight.shape, share.shape, overall.shape) != ((k,), (k, p), (p,)):
        raise AnchorError(f"{file}: its parts are of different lengths; choose the anchors again")
    return exam
