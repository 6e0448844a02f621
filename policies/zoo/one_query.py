"""The default policy's arithmetic for the one query of a request: a batch's numbers but for rounding, in fewer steps.

At this size a step costs more than its arithmetic. So whatever does not change from query to query is worked out once:
everything linear in the features is one product, and bounds and the offsets' posterior are looked up. Tables are read
in the artifact's own precision, float32: reading them is most of the time that is left, and on real prompts the
predictions stay within 1e-6 of a batch's.
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

    A scratch vector holds directions, their squared length, a 1 for what is added, lexical features in standard
    deviations, hidden units, kernel values and heads. Kernel, units and heads read its front, the policy's weights all
    from the 1 on.
    """

    def __init__(self, basis: LandmarkBasis) -> None:
        gamma, self._lexical_weight, scale, _ = (float(number) for number in basis.numbers)
        self._centre, self._to_directions = _single(basis.centre), _single(basis.projection.T)
        self._landmarks, self._metric = _single(basis.landmarks), _single(basis.metric[:-1])
        self._of_dropped = float(basis.metric[-1])
        self._lexical_mean, self._lexical_sd = _single(basis.lexical_mean), _single(basis.lexical_sd)
        k, n_lexical, n_units = basis.projection.shape[1], len(basis.lexical_mean), len(basis.hidden_offset)
        # −γ·|directions − landmark|², multiplied out.
        of_length, of_landmarks = np.full((1, basis.n_landmarks), -gamma), -gamma * basis.squares[None, :]
        self._to_log_kernel = _table(2.0 * gamma * basis.landmarks.T, of_length, of_landmarks)
        of_directions, of_lexical = np.split(basis.hidden, [k])
        nothing = np.zeros((1, n_units))
        self._to_units = _table(scale * of_directions, nothing, basis.hidden_offset[None, :], of_lexical)
        of_directions, of_lexical, of_units = np.split(basis.head, [k, k + n_lexical])
        nothing = np.zeros((1, len(basis.head_offset)))
        self._to_heads = _table(scale * of_directions, nothing, basis.head_offset[None, :], of_lexical, of_units)
        self._k, self._n_topics = k, basis.n_topics
        ends = k + 2 + np.cumsum([0, n_lexical, n_units, basis.n_landmarks, len(basis.head_offset)])
        self._ends: list[int] = ends.tolist()

    def weights(self, of_features: Reals, shift: Reals) -> Floats:
        """``of_features`` (n_outputs, n), as a batch multiplies its features, and ``shift`` (n,), which is added.

        Returns:
            What the scratch from the 1 on is multiplied by, shape (n, d).
        """
        start, lexical_end, units_end, kernel_end, _ = self._ends
        n_landmarks, n_lexical, n_units = kernel_end - units_end, lexical_end - start, units_end - lexical_end
        ends = np.cumsum([n_landmarks, n_lexical, n_units])
        kernel, lexical, units, heads = np.split(of_features, ends)
        return _table(shift[None, :], lexical * self._lexical_weight, units, kernel, heads)

    def __call__(self, embedding: Floats, lexical: Floats) -> tuple[Floats, float, int]:
        """The scratch from the 1 on, the distance to the nearest landmark, and its index."""
        k, (start, lexical_end, units_end, kernel_end, end) = self._k, self._ends
        scratch = np.empty(end, np.float32)
        directions, standard = scratch[:k], scratch[start:lexical_end]
        units, kernel = scratch[lexical_end:units_end], scratch[units_end:kernel_end]
        centred = embedding - self._centre
        np.dot(self._to_directions, centred, out=directions)
        length = float(directions.dot(directions))
        scratch[k], scratch[k + 1] = length, 1.0
        np.dot(self._to_log_kernel, scratch[:start], out=kernel)
        nearest = int(kernel.argmax())
        np.exp(kernel, out=kernel)
        apart = directions - self._landmarks[nearest]
        apart *= apart
        dropped = max(float(centred.dot(centred)) - length, 0.0)
        distance = sqrt(float(self._metric.dot(apart)) + self._of_dropped * dropped)
        np.subtract(lexical, self._lexical_mean, out=standard)
        standard /= self._lexical_sd
        np.maximum(standard, -CLIP, out=standard)
        np.minimum(standard, CLIP, out=standard)
        np.dot(self._to_units, scratch[:lexical_end], out=units)
        np.maximum(units, 0.0, out=units)
        if end > kernel_end:
            heads = scratch[kernel_end:]
            np.dot(self._to_heads, scratch[:units_end], out=heads)
            to_chances(heads, n_topics=self._n_topics)
        return scratch[k + 1 :], distance, nearest


def _table(*parts: Reals) -> Floats:
    """Parts (their lengths, n) in the scratch's order as a table that is read in the order in which it lies, (n, d)."""
    return _single(np.concatenate(parts).T)


def _single(values: Reals) -> Floats:
    """As an artifact keeps it, contiguous."""
    return np.ascontiguousarray(values, np.float32)


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
        found = np.dot(self._weights, features).astype(np.float64)[None, :]
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
