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

    A scratch vector holds directions, lexical features in standard deviations, hidden units, kernel values and heads;
    units and heads read its front, the policy's weights its back.
    """

    def __init__(self, basis: LandmarkBasis) -> None:
        gamma, self._lexical_weight, scale, _ = (float(number) for number in basis.numbers)
        self._minus_gamma = -gamma
        self._centre, self._to_directions = basis.centre, np.ascontiguousarray(basis.projection.T)
        self._minus_two_landmarks, self._squares = -2.0 * basis.landmarks, basis.squares
        self._landmarks, self._metric, self._of_dropped = basis.landmarks, basis.metric[:-1], float(basis.metric[-1])
        self._lexical_mean, self._lexical_sd = basis.lexical_mean, basis.lexical_sd
        k, n_lexical = basis.projection.shape[1], len(basis.lexical_mean)
        scales = np.concatenate([np.full(k, scale), np.ones(n_lexical)])
        self._to_units, self._unit_offset = (
            np.ascontiguousarray((basis.hidden * scales[:, None]).T),
            basis.hidden_offset,
        )
        self._n_landmarks, self._k, self._z = basis.n_landmarks, k, k + n_lexical
        self._units_end = self._z + len(basis.hidden_offset)
        self._kernel_end = self._units_end + basis.n_landmarks
        self._size = self._kernel_end + len(basis.head_offset)
        of_heads = np.concatenate([scales, np.ones(len(basis.hidden_offset))])[:, None] * basis.head
        self._to_heads, self._head_offset = np.ascontiguousarray(of_heads.T), basis.head_offset
        self._n_topics = basis.n_topics

    def weights(self, of_features: Reals) -> Reals:
        """``of_features`` (n_outputs, d), as a batch multiplies its features, in the scratch's order, shape (d, n)."""
        lexical_end = self._n_landmarks + self._z - self._k
        ends = [self._n_landmarks, lexical_end, lexical_end + self._units_end - self._z]
        kernel, lexical, units, heads = np.split(of_features, ends)
        return np.ascontiguousarray(np.concatenate([lexical * self._lexical_weight, units, kernel, heads]).T)

    def __call__(self, embedding: Floats, lexical: Floats) -> tuple[Reals, float, int]:
        """The scratch's back for `weights`, the distance to the nearest landmark, and its index."""
        scratch = np.empty(self._size)
        directions, standard = scratch[: self._k], scratch[self._k : self._z]
        units, kernel = scratch[self._z : self._units_end], scratch[self._units_end : self._kernel_end]
        centred = embedding - self._centre
        np.dot(self._to_directions, centred, out=directions)
        length = float(directions.dot(directions))
        np.dot(self._minus_two_landmarks, directions, out=kernel)
        kernel += self._squares
        kernel += length
        np.maximum(kernel, 0.0, out=kernel)
        nearest = int(kernel.argmin())
        apart = directions - self._landmarks[nearest]
        apart *= apart
        dropped = max(float(centred.dot(centred)) - length, 0.0)
        distance = sqrt(float(self._metric.dot(apart)) + self._of_dropped * dropped)
        kernel *= self._minus_gamma
        np.exp(kernel, out=kernel)
        np.subtract(lexical, self._lexical_mean, out=standard)
        standard /= self._lexical_sd
        np.maximum(standard, -CLIP, out=standard)
        np.minimum(standard, CLIP, out=standard)
        np.dot(self._to_units, scratch[: self._z], out=units)
        units += self._unit_offset
        np.maximum(units, 0.0, out=units)
        if len(self._head_offset):
            heads = scratch[self._kernel_end :]
            np.dot(self._to_heads, scratch[: self._units_end], out=heads)
            heads += self._head_offset
            to_chances(heads, n_topics=self._n_topics)
        return scratch[self._k :], distance, nearest


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
        self._weights = self._glance.weights(np.hstack([of_quality, tokens.weights, evidence]))
        shifts = (means - centre @ of_quality, -(tokens.centre @ tokens.weights), np.ones(1))
        self._shift = np.concatenate(shifts)  # the 1 makes the evidence the divisor of a variance
        self._roster = model if isinstance(model, Roster) else None
        self._bounds = None if guard is None else tuple(float(bound) for bound in guard.bounds)
        self._tokens, self._means = tokens, levels.means
        self._known, self._unknown = levels.residual_sd**2, levels.spread_sd**2
        self._take(cells, posterior)

    def with_posterior(self, cells: NDArray[np.int32], posterior: Posterior) -> Self:
        """The same with other offsets: the cell of each landmark, and what is known of each cell."""
        changed = copy(self)
        changed._take(cells, posterior)
        return changed

    def _take(self, cells: NDArray[np.int32], posterior: Posterior) -> None:
        self._cells = cells.tolist()
        self._offset_mean = np.ascontiguousarray(posterior.mean)  # (n_cells, m)
        self._offset_variance = np.ascontiguousarray(posterior.variance)

    def expect(self, embedding: Floats, lexical: Floats) -> Expectations:
        """Of ``embedding`` (dim,) and ``lexical`` (n_features,); n = 1."""
        features, distance, nearest = self._glance(embedding, lexical)
        kept, far = self._trust(distance)
        found = np.dot(self._weights, features)
        found += self._shift
        m, cell = self._m, self._cells[nearest]
        quality = self._quality(found[: self._n_base])
        quality -= self._means
        quality *= kept
        quality += self._means
        quality += self._offset_mean[cell]
        variance = self._known * (kept / float(found[-1]))
        variance += self._unknown * (1.0 - kept)
        variance += self._offset_variance[cell]
        amounts = found[self._n_base : -1]
        amounts *= kept
        amounts += self._tokens.means
        np.minimum(amounts, self._tokens.log_max, out=amounts)
        np.exp(amounts, out=amounts)
        amounts *= self._tokens.smear
        output_tokens = amounts[:m]
        latency = self._tokens.latency
        return Expectations(
            quality=_clipped(quality)[None, :],
            quality_sd=np.sqrt(variance)[None, :],
            output_tokens=output_tokens[None, :],
            usd=amounts[None, m:],
            seconds=(latency[:, 0] + output_tokens * latency[:, 1])[None, :],
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

    def _quality(self, trained: Reals) -> Reals:
        """The distilled model's own, of the present arms; free to be changed in place."""
        quality = _clipped(trained)
        return quality if self._roster is None else self._roster.enrol(quality[None, :])[0]


def _clipped(values: Reals) -> Reals:
    np.maximum(values, 0.0, out=values)
    np.minimum(values, 1.0, out=values)
    return values
