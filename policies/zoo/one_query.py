"""The default policy's arithmetic for the one query of a request: the same numbers as a batch, in fewer steps.

At this size a step costs more than its arithmetic. So whatever does not change from query to query is worked out once:
everything linear in the features is one product, and bounds and the offsets' posterior are looked up.
"""

from copy import copy
from math import exp, sqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import CLIP, Floats
from policies.zoo.guard import Guard
from policies.zoo.landmark_basis import LandmarkBasis, to_chances
from policies.zoo.posterior import Posterior
from policies.zoo.quality import Expectations, Levels, QualityModel
from policies.zoo.roster import Roster
from policies.zoo.tokens import TokenModel


class Glance:
    """One query seen from the landmarks, as `LandmarkBasis.look` sees many; its scratch is laid out for one product.

    A scratch vector holds directions, lexical features in standard deviations, a 1 for what is added, hidden units,
    kernel values and heads; units and heads read its front, the policy's weights its back.
    """

    def __init__(self, basis: LandmarkBasis) -> None:
        gamma, self._lexical_weight, scale, _ = (float(number) for number in basis.numbers)
        self._minus_gamma = -gamma
        self._centre, self._to_directions = basis.centre, np.ascontiguousarray(basis.projection.T)
        self._landmarks, self._metric, self._of_dropped = basis.landmarks, basis.metric[:-1], float(basis.metric[-1])
        self._to_log_kernel, self._of_landmarks = 2.0 * gamma * basis.landmarks, -gamma * basis.squares
        self._lexical_mean, self._lexical_sd = basis.lexical_mean, basis.lexical_sd
        k, n_lexical, n_units = basis.projection.shape[1], len(basis.lexical_mean), len(basis.hidden_offset)
        scales = np.concatenate([np.full(k, scale), np.ones(n_lexical)])[:, None]
        self._to_units = _rows(scales * basis.hidden, basis.hidden_offset)
        z, of_units = np.split(basis.head, [k + n_lexical])
        self._to_heads = _rows(scales * z, basis.head_offset, of_units)
        self._k, self._z, self._n_landmarks, self._n_topics = k, k + n_lexical, basis.n_landmarks, basis.n_topics
        self._ends = np.cumsum([self._z + 1, n_units, basis.n_landmarks, len(basis.head_offset)]).tolist()

    def weights(self, of_features: Reals, shift: Reals) -> Reals:
        """``of_features`` (n_outputs, n), as a batch multiplies its features, and ``shift`` (n,), which is added.

        Returns:
            What the scratch's back is multiplied by, shape (n, d).
        """
        lexical_end = self._n_landmarks + self._z - self._k
        ends = [self._n_landmarks, lexical_end, lexical_end + self._ends[1] - self._ends[0]]
        kernel, lexical, units, heads = np.split(of_features, ends)
        return _rows(lexical * self._lexical_weight, shift, units, kernel, heads)

    def __call__(self, embedding: Floats, lexical: Floats) -> tuple[Reals, float, int]:
        """The scratch's back for `weights`, the distance to the nearest landmark, and its index."""
        z_end, units_end, kernel_end, end = self._ends
        scratch = np.empty(end)
        directions, standard = scratch[: self._k], scratch[self._k : self._z]
        units, kernel = scratch[z_end:units_end], scratch[units_end:kernel_end]
        scratch[self._z] = 1.0
        centred = embedding - self._centre
        np.dot(self._to_directions, centred, out=directions)
        length = float(directions.dot(directions))
        np.dot(self._to_log_kernel, directions, out=kernel)
        kernel += self._of_landmarks
        kernel += self._minus_gamma * length
        nearest = int(kernel.argmax())
        np.minimum(kernel, 0.0, out=kernel)
        np.exp(kernel, out=kernel)
        apart = directions - self._landmarks[nearest]
        apart *= apart
        dropped = max(float(centred.dot(centred)) - length, 0.0)
        distance = sqrt(float(self._metric.dot(apart)) + self._of_dropped * dropped)
        np.subtract(lexical, self._lexical_mean, out=standard)
        standard /= self._lexical_sd
        np.maximum(standard, -CLIP, out=standard)
        np.minimum(standard, CLIP, out=standard)
        np.dot(self._to_units, scratch[:z_end], out=units)
        np.maximum(units, 0.0, out=units)
        if end > kernel_end:
            heads = scratch[kernel_end:]
            np.dot(self._to_heads, scratch[:units_end], out=heads)
            to_chances(heads, n_topics=self._n_topics)
        return scratch[self._k :], distance, nearest


def _rows(of_z: Reals, added: Reals, *of_rest: Reals) -> Reals:
    """Weights in the scratch's order, each part (its length, n) and ``added`` (n,) at the 1, shape (n, d)."""
    return np.ascontiguousarray(np.concatenate([of_z, added[None, :], *of_rest]).T)


class OneQuery:
    """What `DefaultPolicy.expect` says of a single query, from the same parts; made anew when a part changes."""

    def __init__(
        self,
        basis: LandmarkBasis,
        *,
        quality: tuple[Reals, Reals, Reals],
        mass: Reals,
        model: QualityModel,
        tokens: TokenModel,
        guard: Guard | None,
        levels: Levels,
        cells: NDArray[np.int32],
        posterior: Posterior,
    ) -> None:
        """Combine the parts; ``quality`` are weights, centre and means of the distilled model."""
        of_quality, centre, means = quality
        self._glance, self._n_base, self._m = Glance(basis), len(means), tokens.n_arms
        evidence = np.concatenate([mass, np.zeros(basis.n_outputs - basis.n_landmarks)])[:, None]
        shifts = (means - centre @ of_quality, -(tokens.centre @ tokens.weights), np.ones(1))
        # The last 1 makes the evidence the divisor of a variance.
        of_features, shift = np.hstack([of_quality, tokens.weights, evidence]), np.concatenate(shifts)
        self._weights = self._glance.weights(of_features, shift)
        self._roster = model if isinstance(model, Roster) else None
        self._bounds = None if guard is None else tuple(float(bound) for bound in guard.bounds)
        log_smear = np.log(tokens.smear)
        self._log_level, self._log_most = tokens.means + log_smear, tokens.log_max + log_smear
        self._first_token_s, self._s_per_token = np.ascontiguousarray(tokens.latency.T)
        self._known_variance = levels.residual_sd**2
        self._strange = np.concatenate([levels.means, levels.spread_sd**2])
        self._take(cells, posterior)

    def with_posterior(self, cells: NDArray[np.int32], posterior: Posterior) -> Self:
        """The same with other offsets: the cell of each landmark, and what is known of each cell."""
        changed = copy(self)
        changed._take(cells, posterior)
        return changed

    def _take(self, cells: NDArray[np.int32], posterior: Posterior) -> None:
        self._cells = cells.tolist()
        self._offset = np.hstack([posterior.mean, posterior.variance])  # (n_cells, 2m)

    def expect(self, embedding: Floats, lexical: Floats) -> Expectations:
        """Of ``embedding`` (dim,) and ``lexical`` (n_features,); n = 1."""
        features, distance, nearest = self._glance(embedding, lexical)
        kept, far = self._trust(distance)
        found = np.dot(self._weights, features)[None, :]
        m, n_base, cell = self._m, self._n_base, self._cells[nearest]
        # Quality and its variance side by side: what is known of the query, of its cell, and of any query.
        level = np.empty((1, 2 * m))
        quality, variance = level[:, :m], level[:, m:]
        self._quality(found[:, :n_base], out=quality)
        np.divide(self._known_variance, found[0, -1], out=variance)
        if kept < 1.0:
            level *= kept
            level += self._strange * (1.0 - kept)
        level += self._offset[cell]
        _clip(quality)
        np.sqrt(variance, out=variance)
        amounts = found[:, n_base:-1]
        if kept < 1.0:
            amounts *= kept
        amounts += self._log_level
        np.minimum(amounts, self._log_most, out=amounts)
        np.exp(amounts, out=amounts)
        output_tokens = amounts[:, :m]
        seconds = output_tokens * self._s_per_token
        seconds += self._first_token_s
        return Expectations(
            quality=quality,
            quality_sd=variance,
            output_tokens=output_tokens,
            usd=amounts[:, m:],
            seconds=seconds,
            familiarity=np.array([kept]),
            far=np.array([far]),
            cells=np.array([cell]),
        )

    def _trust(self, distance: float) -> tuple[float, bool]:
        """As the guard's familiarity and its far."""
        if self._bounds is None:
            return 1.0, False
        near, fade, far = self._bounds
        beyond = max(distance - near, 0.0) / max(fade - near, 1e-9)
        return exp(-beyond * beyond), distance > far

    def _quality(self, trained: Reals, *, out: Reals) -> None:
        """The distilled model's own, of the present arms; ``trained`` (1, n_base) is free to be changed in place."""
        _clip(trained)
        out[:] = trained if self._roster is None else self._roster.enrol(trained)


def _clip(values: Reals) -> None:
    np.maximum(values, 0.0, out=values)
    np.minimum(values, 1.0, out=values)
