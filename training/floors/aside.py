"""The rows that a policy's floors are tested on: set aside before anything is fitted, its encoder included."""

import hashlib
from collections.abc import Sequence

import numpy as np

from policies.errors import PolicyError
from policies.tables import Mask

USUAL_SHARE, USUAL_MOST = 0.1, 1_000
LEAST_ROWS = 300  # below it hardly any saving can be promised, and a policy would miss the rows more
_MOST_SHARE = 0.5


def usual_rows(n: int) -> int:
    """Rows to set aside of ``n`` where nobody said how many: a tenth, at most 1,000, none where that is below 300."""
    rows = min(int(n * USUAL_SHARE), USUAL_MOST)
    return rows if rows >= LEAST_ROWS else 0


def calibration_mask(prompts: Sequence[str], n_rows: int, *, seed: int) -> Mask:
    """About ``n_rows`` of the queries, shape (n,); equal prompts never part, so no tested one was learned from.

    Raises:
        PolicyError: Too few rows to test anything, or so many that too few are left to learn from.
    """
    if n_rows == 0:
        return np.zeros(len(prompts), dtype=np.bool_)
    if n_rows < LEAST_ROWS:
        raise PolicyError(f"{n_rows} calibration rows promise nothing; set {LEAST_ROWS} or more aside, or 0 for none")
    if n_rows > _MOST_SHARE * len(prompts):
        raise PolicyError(f"{n_rows} of {len(prompts)} rows for calibration leave less than half to learn from")
    salt = f"calibration\0{seed}\0".encode()
    keys = [hashlib.sha256(salt + prompt.encode("utf-8", "surrogatepass")).digest() for prompt in prompts]
    counts: dict[bytes, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    taken, total = set(), 0
    for key in sorted(counts):
        if total >= n_rows:
            break
        taken.add(key)
        total += counts[key]
    return np.array([key in taken for key in keys], dtype=np.bool_)
