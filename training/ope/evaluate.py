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
from training.ope.groups import Difference, Group, groups_of, is_known, normal_interval
from training.ope.intervals import Bounds, Estimate, Points, Ratio, estimates, points_of, studentised, units_of
from training.ope.log import Progress, RoundsSource, Tally
from training.ope.rounds import EvaluationError, Reals
from training.ope.support import Support, SupportError
from training.ope.targets import FixedArm, Target

_DR = 3  # place of ``dr`` among the estimators


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
    came = {name: facts.came(place) for place, name in enumerate(MEASURES)}
    about: dict[str, Any] = {
        "n_rows": tally.n_rows,
        "n_rounds": len(facts),
        "excluded": dict(tally.excluded),
        "newest_at": tally.newest_at,
        "sample_ratio": {"p_value": p_value, "mismatch": p_value < ALARM},
        "saco": state_action_coverage(facts.cells),
        "tq": trajectory_quality(float(came["utility"].mean()), even=facts.even, best=facts.best),
        "clip": options.clip,
    }
    earned = {name: normal_interval(values) for name, values in came.items() if is_known(values)}
    return Evaluation(about, earned, {name: _verdict(facts, name, options) for name in names})


def _verdict(facts: Facts, name: str, options: Options) -> Verdict:
    support = facts.seen[name].weights.support(clip=options.clip)
    try:
        support.check(name)
    except SupportError as refusal:
        return Verdict(support, refused=str(refusal))
    verdict = Verdict(support)
    read = [
        _read(facts, name, place, options, support) for place in range(len(MEASURES)) if is_known(facts.came(place))
    ]
    margin = _margin(facts, name, options)
    columns = [*(means_of(each.units) for each in read), *(each.gains for each in read), *map(units_of, margin)]
    ratios = [Ratio(each.units[:, 2], each.units[:, 5]) for each in read]
    bounds = studentised(np.hstack(columns), ratios, seed=options.seed)
    for place, each in enumerate(read):
        verdict.switch[each.measure] = each.switch
        verdict.estimates[each.measure] = estimates(each.points, bounds, place)
        verdict.differences[each.measure] = _bounded(each.gain, bounds, 4 * len(read) + place)
    if margin:
        place = 5 * len(read)
        found = _bounded(float(margin[0].mean()), bounds, place)
        broken = float((bounds.means[:, place] < 0.0).mean())
        verdict = replace(verdict, floor=Floor(options.floor, options.reference, found, broken))
    verdict.by_tenant.update(groups_of(facts, name, facts.tenant, facts.tenants, clip=options.clip))
    clusters = [str(place) for place in range(len(facts.cells))]
    verdict.by_cluster.update(groups_of(facts, name, facts.cluster, clusters, clip=options.clip))
    return verdict


@dataclass(frozen=True, slots=True)
class _Read:
    """One measure of one target: what is left of its rounds once they are summed.

    Attributes:
        units: Of ``Terms.columns``, shape (n_units, 6).
        gain / gains: DR less what the log earned: its mean, and its units, shape (n_units, 1).
    """

    measure: str
    switch: float
    points: Points
    units: Reals
    gain: float
    gains: Reals


def _read(facts: Facts, name: str, place: int, options: Options, support: Support) -> _Read:
    terms, measure = facts.terms(name, place, clip=options.clip), MEASURES[place]
    spread = facts.spread if measure == "quality" else None
    switch = switch_of(terms, spread=spread or float(np.ptp(terms.outcome)))
    columns = terms.columns(switch=switch)
    gained = (columns[:, _DR] - terms.outcome)[:, None]
    points = points_of(columns, spread=spread, largest_weight=support.largest_weight)
    return _Read(measure, switch, points, units_of(columns), float(gained.mean()), units_of(gained))


def _margin(facts: Facts, name: str, options: Options) -> list[Reals]:
    """Quality less floor × the reference arm's, by round, shape (n, 1); nothing where no floor is asked for.

    Raises:
        SupportError: The log says too little of the reference arm.
    """
    if options.floor <= 0.0:
        return []
    facts.seen[options.reference].weights.support(clip=options.clip).check(f"reference arm {options.reference}")
    mine, theirs = (facts.terms(each, 0, clip=options.clip).doubly_robust for each in (name, options.reference))
    return [(mine - options.floor * theirs)[:, None]]


def _bounded(value: float, bounds: Bounds, place: int) -> Difference:
    return Difference(value, float(bounds.low[place]), float(bounds.high[place]))
