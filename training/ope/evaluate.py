"""`gearshift evaluate`: the value of target policies on a log, with everything that says how far to believe it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from policies.tradeoff import TradeOff
from training.ope.draws import ALARM, state_action_coverage, trajectory_quality
from training.ope.estimators import means_of, switch_of
from training.ope.expected import cross_fit
from training.ope.facts import MEASURES, Facts, gather
from training.ope.intervals import Bounds, Estimate, Ratio, estimates, studentised
from training.ope.log import Progress, RoundsSource, Tally
from training.ope.rounds import EvaluationError, Mask, Reals
from training.ope.support import Support, SupportError
from training.ope.targets import FixedArm, Target

_DR = 3  # place of ``dr`` among the estimators
_Z = 1.959963984540054  # of a 95 % normal interval


@dataclass(frozen=True, slots=True)
class Options:
    """How to evaluate.

    Attributes:
        clip: Largest weight; infinite for none.
        floor: Quality floor to test, relative to ``reference``; 0 for none.
        reference: Arm that the floor is relative to.
        trade_off: Of the utility, instead of each round's own.
    """

    clip: float = np.inf
    floor: float = 0.0
    reference: str = ""
    seed: int = 0
    trade_off: TradeOff | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """Target less logging policy on the same rounds, doubly robust."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Floor:
    """Whether quality stays above ``floor`` × that of the reference arm.

    Attributes:
        margin: Quality − floor × the reference arm's, with its interval: below 0 the floor is broken.
        violation: Share of bootstrap replicates in which it is.
    """

    floor: float
    reference: str
    margin: Difference
    violation: float


@dataclass(frozen=True, slots=True)
class Group:
    """A tenant or cluster: DR estimates with normal intervals, or why there are none."""

    support: Support
    estimates: dict[str, Difference] = field(default_factory=dict)
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one target policy.

    Attributes:
        estimates: Measure -> estimator -> estimate; a measure that is unknown in some round is missing.
        differences: Measure -> difference to the logging policy.
        switch: Weight beyond which ``switch-dr`` used the model alone, by measure.
        refused: Why nothing is estimated.
    """

    support: Support
    estimates: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    differences: dict[str, Difference] = field(default_factory=dict)
    switch: dict[str, float] = field(default_factory=dict)
    floor: Floor | None = None
    by_tenant: dict[str, Group] = field(default_factory=dict)
    by_cluster: dict[str, Group] = field(default_factory=dict)
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a log says of some policies.

    Attributes:
        log: Rows, rounds, exclusions, sample-ratio test, coverage (SACo) and quality (TQ) of the log.
        logging: What the logging policy earned: mean and 95 % interval of each measure.
    """

    log: dict[str, Any]
    logging: dict[str, Difference]
    policies: dict[str, Verdict]

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def evaluate(
    log: RoundsSource, targets: Sequence[Target], options: Options, *, progress: Progress | None = None
) -> Evaluation:
    """Read the log twice: to cross-fit what is expected, and to see what each target would have done.

    Raises:
        EvaluationError: The log holds no round, or two targets share a name.
    """
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise EvaluationError(
            f"two policies are called {max(names, key=names.count)!r}; name their folders differently"
        )
    tally = Tally()
    model = cross_fit(log.chunks(progress=progress))
    extra: list[Target] = (
        [FixedArm(options.reference)] if options.floor > 0.0 and options.reference not in names else []
    )
    facts = gather(
        log.chunks(tally, progress=progress), [*targets, *extra], model, seed=options.seed, trade_off=options.trade_off
    )
    return judged(facts, names, options, tally)


def judged(facts: Facts, names: Sequence[str], options: Options, tally: Tally) -> Evaluation:
    """Every verdict from the facts of the rounds."""
    p_value = facts.draws.p_value()
    about: dict[str, Any] = {
        "n_rows": tally.n_rows,
        "n_rounds": len(facts),
        "excluded": dict(tally.excluded),
        "newest_at": tally.newest_at,
        "sample_ratio": {"p_value": p_value, "mismatch": p_value < ALARM},
        "saco": state_action_coverage(facts.cells),
        "tq": trajectory_quality(
            float(facts.outcome[:, 3].mean()), even=float(facts.even.mean()), best=float(facts.best.mean())
        ),
        "clip": options.clip,
    }
    earned = {name: _normal(facts.outcome[:, i]) for i, name in enumerate(MEASURES) if _known(facts.outcome[:, i])}
    return Evaluation(about, earned, {name: _verdict(facts, name, options) for name in names})


def _verdict(facts: Facts, name: str, options: Options) -> Verdict:
    support = facts.seen[name].weights.support(clip=options.clip)
    try:
        support.check(name)
    except SupportError as refusal:
        return Verdict(support, refused=str(refusal))
    verdict = Verdict(support)
    known = [i for i in range(len(MEASURES)) if _known(facts.outcome[:, i])]
    columns, gained = [], []
    for measure in known:
        terms, called = facts.terms(name, measure, clip=options.clip), MEASURES[measure]
        width = 1.0 if called == "quality" else float(np.ptp(facts.outcome[:, measure]))
        verdict.switch[called] = switch_of(terms, spread=width)
        columns.append(terms.columns(switch=verdict.switch[called]))
        gained.append(columns[-1][:, _DR] - facts.outcome[:, measure])
    margin = _margin(facts, name, options)
    ratios = [Ratio(part[:, 2], part[:, 5]) for part in columns]
    bounds = studentised(np.column_stack([*map(means_of, columns), *gained, *margin]), ratios, seed=options.seed)
    for place, measure in enumerate(known):
        called = MEASURES[measure]
        verdict.estimates[called] = estimates(
            columns[place],
            bounds,
            place,
            spread=1.0 if called == "quality" else None,
            largest_weight=support.largest_weight,
        )
        verdict.differences[called] = _bounded(gained[place], bounds, 4 * len(known) + place)
    if margin:
        place = 5 * len(known)
        found = _bounded(margin[0], bounds, place)
        broken = float((bounds.means[:, place] < 0.0).mean())
        verdict = replace(verdict, floor=Floor(options.floor, options.reference, found, broken))
    verdict.by_tenant.update(_groups(facts, name, facts.tenant.astype(str), options))
    verdict.by_cluster.update(_groups(facts, name, facts.cluster.astype(str), options))
    return verdict


def _margin(facts: Facts, name: str, options: Options) -> list[Reals]:
    """Quality less floor × the reference arm's, by round, shape (n,); nothing where no floor is asked for.

    Raises:
        SupportError: The log says too little of the reference arm.
    """
    if options.floor <= 0.0:
        return []
    facts.seen[options.reference].weights.support(clip=options.clip).check(f"reference arm {options.reference}")
    mine, theirs = (
        facts.terms(each, 0, clip=options.clip).columns(switch=np.inf)[:, _DR] for each in (name, options.reference)
    )
    return [mine - options.floor * theirs]


def _groups(facts: Facts, name: str, labels: np.ndarray[Any, np.dtype[np.str_]], options: Options) -> dict[str, Group]:
    found = {}
    distinct, group = np.unique(labels, return_inverse=True)
    if len(distinct) < 2:
        return {}
    weights = facts.seen[name].weights
    for index, label in enumerate(distinct):
        rows: Mask = group == index
        support = type(weights)(weights.raw[rows], weights.unsupported[rows], weights.largest[rows]).support(
            clip=options.clip
        )
        try:
            support.check(f"{name}, {label}")
        except SupportError as refusal:
            found[str(label)] = Group(support, refused=str(refusal))
            continue
        measured = {}
        for measure, called in enumerate(MEASURES):
            if _known(facts.outcome[rows, measure]):
                terms = facts.terms(name, measure, clip=options.clip)
                measured[called] = _normal(terms.columns(switch=np.inf)[rows, _DR])
        found[str(label)] = Group(support, measured)
    return found


def _known(outcome: Reals) -> bool:
    return not bool(np.isnan(outcome).any())


def _bounded(values: Reals, bounds: Bounds, place: int) -> Difference:
    return Difference(float(values.mean()), float(bounds.low[place]), float(bounds.high[place]))


def _normal(values: Reals) -> Difference:
    mean, error = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else np.inf
    return Difference(mean, mean - _Z * error, mean + _Z * error)
