"""From a new arm's scores on the anchors to its mean quality and the doubt about it.

What the Rasch model expects of the arm on every query, plus the weighted misses on the anchors: the difference
estimator of survey sampling (Särndal et al., 1992), unbiased by its weights even where the model is wrong, and as exact
as the model is right. The prior from the arm's descriptor joins as a Gaussian in log odds of the mean.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from policies.zoo.sigmoid import log_odds, sigmoid
from training.anchors.exam import Exam

Reals = NDArray[np.float64]

_Z95 = 1.959964
_N_STEPS = 25
_LEAST_SE = 1e-3


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an arm's mean quality over a table's queries, as a Gaussian in log odds.

    Attributes:
        log_odds / sd: Mean and standard deviation.
    """

    log_odds: float
    sd: float

    @property
    def quality(self) -> float:
        """The mean quality, 0..1."""
        return float(sigmoid(np.array(self.log_odds)))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean quality."""
        ends = sigmoid(np.array([self.log_odds - _Z95 * self.sd, self.log_odds + _Z95 * self.sd]))
        return float(ends[0]), float(ends[1])

    def joined(self, other: "Standing") -> "Standing":
        """Both pieces of evidence together: the product of the Gaussians."""
        mine, its = self.sd**-2.0, other.sd**-2.0
        return Standing((mine * self.log_odds + its * other.log_odds) / (mine + its), (mine + its) ** -0.5)


def standing_from_anchors(exam: Exam, scores: Reals, *, prior: Standing | None = None) -> Standing:
    """Mean quality of an arm with ``scores`` (k,) on the anchors, shrunk to ``prior``."""
    strength = _likely_strength(exam, scores, prior=prior)
    missed = scores - exam.chance(strength)
    k = len(scores)
    mean = exam.mean_chance(strength) + float(exam.weight @ missed)
    spread = k * exam.weight * (missed - float(exam.weight @ missed))
    # Two parameters were fitted to the anchors: the strength and the mean miss.
    error = max(sqrt(float((spread**2).sum()) / k / max(k - 2, 1)), _LEAST_SE)
    # A mean of 0 or 1 has no log odds: half an answer to either side keeps it inside.
    inside = min(max(mean, 0.5 / k), 1.0 - 0.5 / k)
    measured = Standing(float(log_odds(inside)), error / (inside * (1.0 - inside)))
    return measured if prior is None else measured.joined(prior)


def _likely_strength(exam: Exam, scores: Reals, *, prior: Standing | None) -> float:
    """Maximum a posteriori by Newton steps on the weighted likelihood, the prior's curvature included."""
    share, weight = exam.share, exam.weight * len(scores)
    strength = exam.usual_strength if prior is None else exam.strength_of(prior.quality)
    centre, precision = strength, 0.1 if prior is None else max(prior.sd, 0.1) ** -2.0
    for _ in range(_N_STEPS):
        rise = sigmoid(strength + exam.points)
        chance, slope = share @ rise, share @ (rise * (1.0 - rise))
        variance = np.maximum(chance * (1.0 - chance), 1e-3)
        pull = float((weight * slope * (scores - chance) / variance).sum()) - precision * (strength - centre)
        curve = float((weight * slope**2 / variance).sum()) + precision
        strength += float(np.clip(pull / curve, -1.0, 1.0))
    return strength
