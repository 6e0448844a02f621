"""Wins, losses and ties of the main policy against every other, by paired intervals."""

from training.report import words
from training.report.result import (
    LOWER_IS_BETTER,
    QUALITIES,
    REFERENCES,
    Estimate,
    PolicyResult,
    PoolResult,
)

COMPARED = (*(f"save_{quality}" for quality in QUALITIES), "max_accuracy", "apgr", "cost_of_pass")
TEACHER = "default_teacher"
MIXING = "global_means"
_REACHED_ALONE = ("fixed", "cheapest", "random", "oracle", TEACHER)


def advantage(pool: PoolResult, main: PolicyResult, other: PolicyResult, metric: str) -> Estimate | None:
    """How much better the main policy is, positive = better whichever way the metric points; None without interval."""
    found = pool.difference(main, other, metric)
    if found is None or found.low is None or found.high is None:
        return None
    return found.negated() if metric in LOWER_IS_BETTER else found


def beaten_by(pool: PoolResult, main: PolicyResult, metric: str) -> list[str]:
    """Baselines without labels that are better on a metric with an interval excluding 0."""
    return [
        other.name
        for other in _others(pool, main)
        if other.is_label_free
        and other.name != TEACHER
        and (found := advantage(pool, main, other, metric)) is not None
        and found.is_negative
    ]


def sentences(pool: PoolResult, main: PolicyResult) -> list[str]:
    """Against no information, then losses one by one, what others reach and it does not, wins and ties, the teacher."""
    parts = [_no_information(pool, main), *losses(pool, main), *_unreached(pool, main)]
    return [part for part in (*parts, _wins_and_ties(pool, main), _teacher(pool, main)) if part]


def _others(pool: PoolResult, main: PolicyResult) -> list[PolicyResult]:
    return [other for other in pool.policies.values() if other.name not in (main.name, "oracle")]


def _no_information(pool: PoolResult, main: PolicyResult) -> str:
    mixing = pool.policies.get(MIXING)
    gain = advantage(pool, main, mixing, "save_97") if mixing is not None and mixing.name != main.name else None
    if gain is None:
        return ""
    shown = f"{words.points(gain.value)} points {words.interval(gain, 1)} of saving at 97 %"
    if gain.is_positive:
        return f"Looking at the prompt pays: {shown} over mixing arms without looking ({MIXING})."
    if gain.is_negative:
        return f"Looking at the prompt does harm: {shown} against mixing arms without looking ({MIXING})."
    return f"Looking at the prompt gains nothing proven over mixing arms without looking ({MIXING}): {shown}."


def losses(pool: PoolResult, main: PolicyResult) -> list[str]:
    """One sentence for each policy that is better somewhere with an interval excluding 0, or one that none is."""
    told, compared = [], 0
    for other in _others(pool, main):
        found = {metric: advantage(pool, main, other, metric) for metric in COMPARED}
        compared += any(each is not None for each in found.values())
        lost = [
            f"{_where(m)} by {_amount(m, each.negated())}" for m, each in found.items() if each and each.is_negative
        ]
        if lost:
            note = "" if other.name not in REFERENCES else f" ({other.name} reads labels that a gateway never sees)"
            told.append(f"{main.name} loses to {other.name} {words.listed(lost)}{note}.")
    if told or not compared:
        return told or ["The run holds no paired comparisons, so nothing can be said about other policies."]
    return [f"No other policy is better than {main.name} with an interval that excludes 0."]


def _where(metric: str) -> str:
    kind, _, quality = metric.partition("_")
    names = {"max_accuracy": "in highest accuracy", "apgr": "in APGR", "cost_of_pass": "in cost per correct answer"}
    return f"at {quality} %" if kind == "save" else names[metric]


def _amount(metric: str, lead: Estimate) -> str:
    if metric == "cost_of_pass":
        return f"${words.significant(1000 * lead.value)} per 1,000"
    if metric == "apgr":
        return f"{words.signless(lead.value, 3)} {words.interval(lead, 3)}"
    scale = 1.0 if metric.startswith("save") else 100.0
    return f"{words.signless(scale * lead.value, 1)} points {words.interval(lead, 1, scale)}"


def _unreached(pool: PoolResult, main: PolicyResult) -> list[str]:
    """Levels that others reach: no interval can be drawn around a figure that does not exist."""
    told = []
    for quality in QUALITIES:
        metric = f"save_{quality}"
        if main.number(metric) is not None:
            continue
        able = [each.name for each in _others(pool, main) if each.number(metric) and each.name not in _REACHED_ALONE]
        if able:
            told.append(f"{quality} % is reached by {words.listed(able)}, not by {main.name}.")
    return told


def _wins_and_ties(pool: PoolResult, main: PolicyResult) -> str:
    found = {
        other.name: lead
        for other in _others(pool, main)
        if other.name != TEACHER and (lead := advantage(pool, main, other, "save_97")) is not None
    }
    wins = [f"{name} ({words.points(lead.value)} points)" for name, lead in found.items() if lead.is_positive]
    ties = [name for name, lead in found.items() if not lead.is_positive and not lead.is_negative]
    told = [f"better than {words.listed(wins)}"] * bool(wins)
    told += [f"within noise of {words.listed(ties)}"] * bool(ties)
    return f"Saving at 97 % is {'; '.join(told)}." if told else ""


def _teacher(pool: PoolResult, main: PolicyResult) -> str:
    teacher = pool.policies.get(TEACHER)
    gap = advantage(pool, main, teacher, "save_97") if teacher is not None and main.name != TEACHER else None
    if gap is None or gap.is_negative:  # a loss is told among the losses
        return ""
    shown = f"{words.points(gap.value)} points {words.interval(gap, 1)} at 97 %"
    return f"Served artifact against its teacher: {shown}; distillation costs nothing that can be shown."
