"""The logistic function and its inverse, for models whose numbers are log odds."""

import numpy as np

from policies.predictions import Reals

EDGE = 1e-6  # probabilities stay this far from 0 and 1


def sigmoid(logits: Reals) -> Reals:
    """1 / (1 + exp(−logits)), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def log_odds(share: Reals | float) -> Reals:
    """log(p / (1 − p)), with p kept off the edges by 1e-6."""
    clipped = np.clip(np.asarray(share, dtype=np.float64), EDGE, 1.0 - EDGE)
    return np.log(clipped) - np.log1p(-clipped)
