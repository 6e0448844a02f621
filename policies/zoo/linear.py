"""Ridge per arm on declared features: expected quality with its uncertainty, and expected tokens, in one product.

Cost is predicted tokens × the configured price, so a price may change without retraining. Far from the training queries
every prediction shrinks to the arm's mean over them, which is the best fixed choice when nothing is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.artifact import Artifact, load_artifact
from policies.context import Context
from policies.encoders.base import Encoder
from policies.errors import ArtifactError, PolicyError
from policies.features import FEATURE_NAMES
from policies.policy import ArmFacts, Scores
from policies.predictions import Predictions, Reals
from policies.settings import PolicySettings
from policies.tradeoff import TradeOff
from policies.zoo.choose import most_useful
from policies.zoo.feature_map import FeatureMap, Floats
from policies.zoo.known import Declared, bounded_by_client, declared
from policies.zoo.ridge import Expected, ExpectedOfOne, LinearWeights, check_shapes, expect, expect_one, nothing_known

UNKNOWN_SD = 0.5  # the largest standard deviation of a quantity in [0, 1]
_MOST_CHOICES = 64  # sets of eligible arms remembered; a gateway sees a handful


@dataclass(frozen=True, slots=True)
class _Choice:
    """A set of eligible arms against the trained ones, each array of shape (n_arms,).

    Attributes:
        arms: Kept, so that their identities stay theirs while this is remembered.
        columns: Column of each arm among the trained ones, 0 for a stranger.
        strangers: Which arms were not trained; None if all were.
        input_ratio: Billed prompt tokens per estimated one, 1 for a stranger.
    """

    arms: tuple[ArmFacts, ...]
    facts: Declared
    columns: NDArray[np.intp]
    strangers: NDArray[np.bool_] | None
    input_ratio: Reals


class LinearPolicy:
    """Takes the eligible arm of highest predicted utility; equal ones share the probability."""

    name = "linear"

    def __init__(
        self, feature_map: FeatureMap, ridge: LinearWeights, *, arms: Sequence[str], encoder_id: str, version: str
    ) -> None:
        """Serve weights whose columns are ``arms``.

        Raises:
            ArtifactError: The shapes do not belong together or a number is not finite.
        """
        check_shapes(feature_map, ridge, n_arms=len(arms))
        self._map, self._ridge = feature_map, ridge
        self._column = {name: column for column, name in enumerate(arms)}
        self._choices: dict[tuple[int, ...], _Choice] = {}  # saves time and changes no answer
        self.encoder_id, self.version = encoder_id, version

    @classmethod
    def build(cls, settings: PolicySettings, arms: Sequence[ArmFacts], encoder: Encoder | None) -> "LinearPolicy":
        """Load ``policy.artifact``.

        Raises:
            PolicyError: No artifact is named, it is refused, or it knows none of the configured arms.
        """
        if not settings.artifact:
            raise PolicyError("policy.artifact: the linear policy needs a folder written by `gearshift train linear`")
        artifact = load_artifact(settings.artifact, encoder=encoder)
        policy = cls.from_artifact(artifact)
        if arms and not any(arm.name in policy._column for arm in arms):
            trained = ", ".join(policy._column)
            raise PolicyError(
                f"policy.artifact: {settings.artifact} knows none of the configured arms; it has {trained}"
            )
        return policy

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> "LinearPolicy":
        """Serve a loaded artifact.

        Raises:
            ArtifactError: It is of another policy or its numbers do not belong together.
        """
        if artifact.policy != cls.name:
            raise ArtifactError(f"the artifact is of policy {artifact.policy!r}; set policy.name to it")
        try:
            feature_map = FeatureMap.from_tensors(artifact.tensors)
            ridge = LinearWeights.from_tensors(artifact.tensors)
        except (KeyError, TypeError, ValueError) as problem:
            raise ArtifactError(
                f"the artifact lacks weights of a linear policy ({problem}); train it again"
            ) from problem
        names = [str(arm["name"]) for arm in artifact.arms]
        return cls(feature_map, ridge, arms=names, encoder_id=artifact.encoder_id, version=artifact.version)

    @classmethod
    def example(cls, arms: Sequence[ArmFacts]) -> "LinearPolicy":
        """Small random weights for all but the last of ``arms``, on embeddings of 8 numbers."""
        rng = np.random.default_rng(0)
        known, n_lexical = [arm.name for arm in arms[:-1]] or [arms[0].name], len(FEATURE_NAMES)
        m, d = len(known), 4 + n_lexical
        feature_map = FeatureMap(
            centre=np.zeros(8, np.float32),
            projection=np.eye(8, 2, dtype=np.float32),
            landmarks=rng.normal(size=(4, 2)).astype(np.float32),
            gamma=1.0,
            lexical_mean=np.zeros(n_lexical, np.float32),
            lexical_sd=np.ones(n_lexical, np.float32),
            lexical_weight=0.05,
            near=0.5,
            far=2.0,
        )
        ridge = LinearWeights(
            weights=rng.normal(scale=0.1, size=(d, 2 * m)).astype(np.float32),
            means=np.repeat(np.array([0.6, 5.0], np.float32), m),
            phi_mean=np.zeros(d, np.float32),
            covariance=np.eye(d, dtype=np.float32) * 0.01,
            noise_sd=np.full(m, 0.4, np.float32),
            spread_sd=np.full(m, 0.5, np.float32),
            n_rows=100.0,
            smear=np.ones(m, np.float32),
            log_tokens_max=np.full(m, 9.0, np.float32),
            input_ratio=np.ones(m, np.float32),
        )
        return cls(feature_map, ridge, arms=known, encoder_id="example", version="example")

    @property
    def embedding_dim(self) -> int:
        """Length of the embeddings it reads."""
        return int(self._map.centre.shape[0])

    def expect(self, embeddings: Floats, lexical: Floats) -> Expected:
        """Predictions of every trained arm for many queries, for evaluation."""
        return expect(self._map, self._ridge, embeddings, lexical)

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        """One-hot on the arm of highest utility.

        Raises:
            ValueError: The embedding has another length than the artifact's encoder gives.
        """
        predictions = self._predict(context, arms)
        dist = most_useful(predictions, trade_off)
        action = int(dist.argmax())
        reason = (
            f"{arms[action].name} has the highest utility: quality {predictions.quality[action]:.2f} "
            f"± {predictions.quality_sd[action]:.2f} for {predictions.usd[action]:.6f} USD"
        )
        return Scores(dist, predictions, f"{reason}; unlike the training queries" if predictions.far else reason)

    def _predict(self, context: Context, arms: Sequence[ArmFacts]) -> Predictions:
        choice, expected = self._choice(arms), self._expect_one(context)
        columns, strangers, facts = choice.columns, choice.strangers, choice.facts
        quality = expected.quality[columns].astype(np.float64)
        quality_sd = expected.quality_sd[columns].astype(np.float64)
        tokens = expected.output_tokens[columns].astype(np.float64)
        if strangers is not None:
            trained = expected.quality if strangers.all() else quality[~strangers]
            quality[strangers] = trained.mean()
            quality_sd[strangers] = UNKNOWN_SD
            tokens[strangers] = facts.output_tokens[strangers]
        tokens = bounded_by_client(tokens, context)
        return Predictions(
            quality=quality,
            quality_sd=quality_sd,
            usd=facts.usd(context.prompt_tokens * choice.input_ratio, tokens),
            seconds=facts.seconds(tokens),
            far=expected.far,
        )

    def _choice(self, arms: Sequence[ArmFacts]) -> _Choice:
        # By identity: hashing the facts themselves would cost more than all of the arithmetic.
        key = tuple(map(id, arms))
        known = self._choices.get(key)
        if known is not None:
            return known
        if len(self._choices) >= _MOST_CHOICES:
            self._choices.clear()
        columns = np.array([self._column.get(arm.name, -1) for arm in arms], dtype=np.intp)
        strangers = columns < 0
        choice = self._choices[key] = _Choice(
            arms=tuple(arms),
            facts=declared(arms),
            columns=np.where(strangers, 0, columns),
            strangers=strangers if strangers.any() else None,
            input_ratio=np.where(strangers, 1.0, self._ridge.input_ratio[columns]).astype(np.float64),
        )
        return choice

    def _expect_one(self, context: Context) -> ExpectedOfOne:
        if context.embedding.shape == (self.embedding_dim,):
            return expect_one(self._map, self._ridge, context.embedding, context.features)
        if context.embedding.size:
            raise ValueError(
                f"the embedding has {context.embedding.size} numbers, the artifact's encoder {self.encoder_id} "
                f"gives {self.embedding_dim}"
            )
        return nothing_known(self._ridge)
