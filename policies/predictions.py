"""What a policy expects of each eligible arm, apart from any trade-off: prices change without retraining."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Predictions:
    """Per eligible arm, each array of shape (n_arms,).

    Attributes:
        quality: Expected quality, 0..1; NaN where the policy claims no knowledge.
        quality_sd: Standard deviation of that expectation (not of a single answer); NaN where unknown.
        usd: Expected cost of the request; NaN where the price is unknown.
        seconds: Expected time to the last byte; NaN where unknown.
        far: The query is far from everything the policy was fitted on, so quality is shrunk to "no information".
    """

    quality: Reals
    quality_sd: Reals
    usd: Reals
    seconds: Reals
    far: bool = False
