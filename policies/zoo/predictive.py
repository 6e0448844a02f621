"""What every learned policy of the zoo shares: only the model of quality differs from one to the next.

Quality comes from a ``QualityModel``, tokens, cost and time from a ``TokenModel``, and a ``Guard`` shrinks all of it to
the arms' training means where a query is unlike the training ones. Cost is predicted tokens × the configured price, so
a price may change without retraining; the arm of highest utility is chosen.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from policies.artifact import Artifact, load_artifact
from policies.context import Context
from policies.encoders.base import Encoder
from policies.errors import ArtifactError, PolicyError
from policies.floors import Floors
from policies.policy import ArmFacts, Scores
from policies.predictions import Predictions, Reals
from policies.settings import PolicySettings
from policies.tradeoff import TradeOff
from policies.zoo.basis import Floats, Tensors, check_shapes
from policies.zoo.choose import most_useful
from policies.zoo.columns import Choice, Columns
from policies.zoo.guard import Guard
from policies.zoo.known import bounded_by_client
from policies.zoo.quality import Expectations, Levels, QualityModel
from policies.zoo.roster import enrolled
from policies.zoo.tokens import TokenModel
from policies.zoo.under_floor import FloorKeeper

UNKNOWN_SD = 0.5  # the largest standard deviation of a quantity in [0, 1]
_EXAMPLE_DIM = 8

Parts = tuple[QualityModel, TokenModel, Guard | None, Levels]


class PredictivePolicy:
    """Takes the eligible arm of highest predicted utility; equal ones share the probability.

    Under a quality floor, where its artifact promises any, it is the policy that was tested instead. A subclass names
    itself and its ``model_type``; nothing else is needed.
    """

    name: str = ""
    model_type: ClassVar[type[QualityModel]]

    def __init__(
        self,
        model: QualityModel,
        tokens: TokenModel,
        guard: Guard | None,
        levels: Levels,
        *,
        arms: Sequence[str],
        encoder_id: str,
        version: str = "",
    ) -> None:
        """Serve models whose columns are ``arms``; without a ``guard`` no query is far.

        Raises:
            ArtifactError: The parts do not belong together or a number is not finite.
        """
        self.model, self.tokens, self.guard, self.levels = model, tokens, guard, levels
        self.encoder_id, self.version = encoder_id, version
        self._check(len(arms))
        self.columns = Columns(arms, input_ratio=tokens.input_ratio, latency=tokens.latency)
        self._keeper: FloorKeeper | None = None

    @classmethod
    def build(cls, settings: PolicySettings, arms: Sequence[ArmFacts], encoder: Encoder | None) -> Self:
        """Load ``policy.artifact``.

        Raises:
            PolicyError: No artifact is named, it is refused, or it knows none of the configured arms.
        """
        if not settings.artifact:
            raise PolicyError(
                f"policy.artifact: the {cls.name} policy needs a folder written by `gearshift train {cls.name}`"
            )
        policy = cls.from_artifact(load_artifact(settings.artifact, encoder=encoder))
        if arms and not policy.columns.knows_any(arms):
            trained = ", ".join(policy.arm_names)
            raise PolicyError(
                f"policy.artifact: {settings.artifact} knows none of the configured arms; it has {trained}"
            )
        return policy

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Serve a loaded artifact.

        Raises:
            ArtifactError: It is of another policy or its numbers do not belong together.
        """
        if artifact.policy != cls.name:
            raise ArtifactError(f"the artifact is of policy {artifact.policy!r}; set policy.name to it")
        names = [str(arm["name"]) for arm in artifact.arms]
        inputs, version = artifact.encoder_id, artifact.version
        policy = cls.from_tensors(artifact.tensors, arms=names, encoder_id=inputs, version=version)
        if artifact.floors:
            policy.promise(Floors.from_dict(artifact.floors))
        return policy

    @classmethod
    def from_tensors(cls, tensors: Tensors, *, arms: Sequence[str], encoder_id: str, version: str = "") -> Self:
        """The inverse of ``to_tensors``.

        Raises:
            ArtifactError: A tensor is missing, of a wrong shape or not finite.
        """
        model, tokens, guard, levels = cls._parts(tensors)
        return cls(model, tokens, guard, levels, arms=arms, encoder_id=encoder_id, version=version)

    @classmethod
    def _parts(cls, tensors: Tensors) -> Parts:
        """What every policy of this family is made of.

        Raises:
            ArtifactError: A tensor is missing or of a wrong shape.
        """
        try:
            model = enrolled(cls.model_type.from_tensors(tensors), tensors)
            tokens = TokenModel.from_tensors(tensors)
            guard = Guard.from_tensors(tensors) if any(name.startswith("guard.") for name in tensors) else None
            return model, tokens, guard, Levels.from_tensors(tensors)
        except (KeyError, IndexError, TypeError, ValueError) as problem:
            raise ArtifactError(
                f"the artifact lacks weights of a {cls.name} policy ({problem}); train it again"
            ) from problem

    @classmethod
    def example(cls, arms: Sequence[ArmFacts]) -> Self:
        """Small random weights for all but the last of ``arms``, on embeddings of 8 numbers."""
        names = [arm.name for arm in arms[:-1]] or [arms[0].name]
        m = len(names)
        return cls(
            cls.model_type.example(n_arms=m, dim=_EXAMPLE_DIM),
            TokenModel.example(n_arms=m, dim=_EXAMPLE_DIM),
            Guard.example(dim=_EXAMPLE_DIM),
            Levels(np.full(m, 0.6), np.full(m, 0.5), np.full(m, 0.4)),
            arms=names,
            encoder_id="example",
            version="example",
        )

    def promise(self, floors: Floors) -> None:
        """Keep these floors from now on; they must come from this very policy.

        Raises:
            ArtifactError: They name an arm that it does not know.
        """
        strange = [name for name, _ in floors.arms if name not in self.arm_names]
        if strange:
            raise ArtifactError(f"the artifact's floors are of arm {strange[0]!r}, which it lacks; train it again")
        self._keeper = FloorKeeper(floors)

    @property
    def floors(self) -> Floors | None:
        """What it promises; None: no floor."""
        return None if self._keeper is None else self._keeper.floors

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """All of it as named arrays, for an artifact."""
        guard = {} if self.guard is None else self.guard.tensors()
        return self.model.tensors() | self.tokens.tensors() | guard | self.levels.tensors()

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The trained arms, in the order of all columns."""
        return self.columns.names

    @property
    def embedding_dim(self) -> int:
        """Length of the embeddings it reads."""
        return self.model.dim

    def expect(self, embeddings: Floats, lexical: Floats) -> Expectations:
        """Predictions of every trained arm for many queries: ``embeddings`` (n, dim), ``lexical`` (n, n_features)."""
        kept, far = np.ones(len(embeddings)), np.zeros(len(embeddings), dtype=np.bool_)
        if self.guard is not None:
            distance = self.guard.distance(embeddings)
            kept, far = self.guard.familiarity(distance), self.guard.is_far(distance)
        levels, share = self.levels, kept[:, None]
        spending = self.tokens.spending(embeddings, lexical, kept=kept)
        quality = levels.means + share * (self.model.quality(embeddings, lexical) - levels.means)
        return Expectations(
            quality=np.clip(quality, 0.0, 1.0),
            quality_sd=np.sqrt(share * levels.residual_sd**2 + (1.0 - share) * levels.spread_sd**2),
            output_tokens=spending.output_tokens,
            usd=spending.usd,
            seconds=spending.seconds,
            familiarity=kept,
            far=far,
        )

    def nothing_known(self) -> Expectations:
        """Every arm's training mean, n = 1: what to expect of a query without an embedding."""
        levels, spending = self.levels, self.tokens.nothing_known()
        return Expectations(
            quality=levels.means[None, :],
            quality_sd=levels.spread_sd[None, :],
            output_tokens=spending.output_tokens,
            usd=spending.usd,
            seconds=spending.seconds,
            familiarity=np.zeros(1),
            far=np.ones(1, dtype=np.bool_),
        )

    def quality_of_strangers(
        self, expected: Expectations, context: Context, strangers: Sequence[ArmFacts]
    ) -> tuple[Reals, Reals]:
        """Quality and its standard deviation of arms that were not trained, each (n_strangers,).

        Here: as good as the trained arms on average, with the widest doubt. A model that reads descriptors knows better
        and overrides it; ``expected`` is of this one query (n = 1).
        """
        n = len(strangers)
        return np.full(n, expected.quality[0].mean()), np.full(n, UNKNOWN_SD)

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        """One-hot on the arm of highest utility, under a floor among what keeps it.

        Raises:
            ValueError: The embedding has another length than the artifact's encoder gives.
        """
        choice, expected = self.columns.of(arms), self._expect_one(context)
        return self._best(self._predictions(choice, expected, context), arms, trade_off)

    def _best(self, predictions: Predictions, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        if trade_off.quality_floor > 0.0 and self._keeper is not None:
            return self._keeper.score(predictions, arms, trade_off)
        dist = most_useful(predictions, trade_off)
        action = int(dist.argmax())
        # Numbers of Python's: numpy's take thrice as long to be written.
        quality, quality_sd = predictions.quality.item(action), predictions.quality_sd.item(action)
        reason = (
            f"{arms[action].name} has the highest utility: quality {quality:.2f} "
            f"± {quality_sd:.2f} for {predictions.usd.item(action):.6f} USD"
        )
        return Scores(dist, predictions, f"{reason}; unlike the training queries" if predictions.far else reason)

    def _predictions(self, choice: Choice, expected: Expectations, context: Context) -> Predictions:
        unknown = choice.strangers
        quality, quality_sd = choice.of_one(expected.quality), choice.of_one(expected.quality_sd)
        tokens = choice.of_one(expected.output_tokens)
        if unknown is not None:
            strangers = [arm for arm, strange in zip(choice.arms, unknown, strict=True) if strange]
            quality[unknown], quality_sd[unknown] = self.quality_of_strangers(expected, context, strangers)
            tokens[unknown] = choice.declared_tokens[unknown]
        tokens = bounded_by_client(tokens, context)
        usd = context.prompt_tokens * choice.usd_per_prompt_token + tokens * choice.usd_per_output_token
        if choice.unpriced is not None:
            billed = choice.of_one(expected.usd)
            if unknown is not None:
                billed[unknown] = np.nan
            usd = np.where(choice.unpriced, billed, usd)
        return Predictions(
            quality=quality,
            quality_sd=quality_sd,
            usd=usd,
            seconds=choice.first_token_s + tokens * choice.s_per_token,
            far=bool(expected.far[0]),
        )

    def _expect_one(self, context: Context) -> Expectations:
        if context.embedding.shape == (self.embedding_dim,):
            return self.expect(context.embedding[None, :], context.features[None, :])
        if context.embedding.size:
            raise ValueError(
                f"the embedding has {context.embedding.size} numbers, the artifact's encoder {self.encoder_id} "
                f"gives {self.embedding_dim}"
            )
        return self.nothing_known()

    def _check(self, m: int) -> None:
        dim = self.model.dim
        shapes = {
            "quality model": ((self.model.n_arms,), (m,)),
            "token model": ((self.tokens.n_arms, self.tokens.dim), (m, dim)),
            "guard": ((dim if self.guard is None else self.guard.dim,), (dim,)),
        }
        try:
            check_shapes(shapes)
            self.levels.check(n_arms=m)
        except ValueError as problem:
            raise ArtifactError(f"the parts of the policy do not fit {m} arms: {problem}; train it again") from problem
        for name, values in self.to_tensors().items():
            # A time that was never recorded is NaN on purpose.
            bad = np.isinf(values).any() if name == "tokens.latency" else not np.isfinite(values).all()
            if bad:
                raise ArtifactError(f"weights {name} hold a number that is not finite; train it again")
