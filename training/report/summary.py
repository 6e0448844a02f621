"""The summary in words: every sentence is computed from the numbers, and losses are told like gains.

A win or a loss is claimed only where a paired 95 % interval excludes 0.
"""

from collections.abc import Mapping
from typing import Any

from training.report import comparisons, words
from training.report.domains import DEARER, LOSES, WITHIN_NOISE, domain_rows
from training.report.result import DEFAULT, QUALITIES, PolicyResult, PoolResult, mapping, number

ROBUST_PCT = 90.0


def summary_sentences(pool_result: Mapping[str, Any], *, pool: str = "this pool") -> list[str]:
    """What the run shows about one pool, in words.

    Args:
        pool_result: One entry of ``pools`` in a benchmark result.
        pool: Its name.
    """
    found = PoolResult(pool, pool_result)
    main = found.main
    if main is None:
        return [f"On {pool} no policy was run."]
    parts = (
        headline(found, main),
        _other_levels(main),
        _best_accuracy(found, main),
        _committed(main),
        _right_answers(main),
        *comparisons.sentences(found, main),
        _domains(main),
        _robustness(main),
        _forecasts(main),
    )
    return [part for part in parts if part]


def headline(pool: PoolResult, main: PolicyResult, quality: str = "97") -> str:
    """Saving at a quality against the most accurate single arm, with what its interval allows to say."""
    arm, accuracy, _ = pool.single("best_single")
    start = f"On {pool.name}, {main.name}"
    at = f"{quality} % of the accuracy of {arm}, the most accurate single arm ({words.share(accuracy)})"
    saving = main.estimate(f"save_{quality}")
    if saving is None:
        return f"{start} never reaches {at}: there is nothing to save at that level."
    bounds = words.interval(saving)
    if not bounds:
        return f"{start} saves {words.percent(saving.value)} of the cost at {at}; the run has no interval for it."
    if saving.is_positive:
        return f"{start} saves {words.percent(saving.value)} {bounds} of the cost at {at}."
    if saving.is_negative:
        flipped = saving.negated()
        more = f"{words.percent(flipped.value)} {words.interval(flipped)}"
        return f"{start} costs {more} more than that arm alone at {at}: routing loses money here."
    return f"{start} shows no saving at {at}: {words.percent(saving.value)} {bounds}, an interval that includes 0."


def _other_levels(main: PolicyResult) -> str:
    told = []
    for quality in (quality for quality in QUALITIES if quality != "97"):
        saving = main.estimate(f"save_{quality}")
        shown = "never reached" if saving is None else f"{words.percent(saving.value)} {words.interval(saving)}".strip()
        told.append(f"{shown} at {quality} %")
    return f"Saving at the other levels: {words.listed(told)}."


def _best_accuracy(pool: PoolResult, main: PolicyResult) -> str:
    most = main.number("max_accuracy")
    if most is None:
        return ""
    start = f"Its highest accuracy is {words.share(most)}"
    fixed = pool.policies.get("fixed")
    gain = pool.difference(main, fixed, "max_accuracy") if fixed is not None else None
    if gain is None or not words.interval(gain):
        accuracy = pool.single("best_single")[1]
        return f"{start}." if accuracy is None else f"{start}; the best single arm's is {words.share(accuracy)}."
    shown = f"{words.points(100 * gain.value)} points {words.interval(gain, 1, 100)}"
    if gain.is_positive or gain.is_negative:
        return f"{start}, {shown} against the best single arm: {_gains(gain.value)}."
    return f"{start}, {shown} from the best single arm: no proven difference."


def _gains(value: float) -> str:
    return "routing gains accuracy too" if value > 0 else "routing cannot match it"


def _committed(main: PolicyResult) -> str:
    saving, ratio = main.committed("97")
    if saving is None or ratio is None:
        return ""
    kept = "it keeps its promise" if ratio >= 0.97 else "it falls short of what was asked"
    return (
        f"With λ chosen on training data alone it saves {words.percent(saving)} and realises {words.share(ratio)} of "
        f"the best single arm's accuracy where 97 % was asked: {kept}."
    )


def _right_answers(main: PolicyResult) -> str:
    saving = main.estimate("cost_of_pass_saving_pct")
    if saving is None:
        return ""
    shown = f"{words.percent(saving.value)} {words.interval(saving)}".strip()
    if saving.is_negative:
        return f"A right answer costs more than the best reasoning arm's: the saving is {shown}."
    unsure = ", an interval that includes 0" if words.interval(saving) and not saving.is_positive else ""
    return f"A right answer costs {shown} less than the best reasoning arm's, at most 0.5 points less accurate{unsure}."


def _domains(main: PolicyResult) -> str:
    rows = domain_rows(main)
    if not rows:
        return ""
    loses = [row for row in rows if row.verdict == LOSES]
    short = sum(row.verdict == WITHIN_NOISE for row in rows)
    dearer = [row.name for row in rows if row.verdict == DEARER]
    named = [f"{row.name} ({words.points(100 * row.gap)} points, n = {row.n:,})" for row in loses]
    told = [f"it loses clearly on {words.listed(named)}" if named else "no domain is clearly lost"]
    told += [f"{short} more {'falls' if short == 1 else 'fall'} short within noise"] * (short > 0)
    told += [f"it costs more than the best single arm on {words.listed(dearer)}"] * bool(dearer)
    return f"By domain ({len(rows)} of them, at the setting that keeps 97 % overall): {'; '.join(told)}."


def _robustness(main: PolicyResult) -> str:
    kept = {name: pct for name, raw in mapping(main.raw, "robustness").items() if (pct := number(raw)) is not None}
    if not kept:
        return ""
    weakest = min(kept, key=lambda name: (kept[name], name))
    below = [words.title(name) for name in kept if kept[name] < ROBUST_PCT]
    mean = sum(kept.values()) / len(kept)
    verdict = f"below {ROBUST_PCT:.0f} % under {words.listed(below)}" if below else f"never below {ROBUST_PCT:.0f} %"
    return (
        f"It keeps the same arm for {words.percent(mean)} of changed prompts on average, least under "
        f"{words.title(weakest)} ({words.percent(kept[weakest])}); {verdict}."
    )


def _forecasts(main: PolicyResult) -> str:
    told = []
    ece, decision, far = main.number("ece"), main.number("decision_us"), main.number("far_share")
    if ece is not None:
        told.append(f"forecasts of accuracy are off by {100 * ece:.1f} points on average (ECE)")
    if decision is not None:
        told.append(f"a decision takes {words.significant(decision)} µs after the embedding")
    if far:
        told.append(f"{words.share(far)} of prompts were far from training and got the no-information choice")
    text = "; ".join(told)
    return text[:1].upper() + text[1:] + "." if text else ""


def verdict(pool: PoolResult) -> str:
    """Three words for the table of all pools."""
    main = pool.main
    saving = main.estimate("save_97") if main is not None else None
    if main is None or saving is None:
        return "97 % never reached"
    if comparisons.beaten_by(pool, main, "save_97"):
        return "a baseline is better"
    if not words.interval(saving):
        return "no interval"
    return "saves" if saving.is_positive else "costs more" if saving.is_negative else "nothing proven"


def overall_sentences(found: list[PoolResult]) -> list[str]:
    """What holds over all pools: mean saving, and where routing does not pay."""
    savings = [main.number("save_97") for pool in found if (main := pool.main) is not None]
    reached = [saving for saving in savings if saving is not None]
    told = []
    if reached and len(found) > 1:
        name = next(main.name for pool in found if (main := pool.main) is not None)
        mean = sum(reached) / len(reached)
        rest = f"; {len(found) - len(reached)} never reach it" if len(reached) < len(found) else ""
        told.append(f"{name} saves {words.percent(mean)} at 97 % on average over {len(reached)} pools{rest}.")
    troubles: dict[str, list[str]] = {}
    for pool in found:
        if (outcome := verdict(pool)) not in ("saves", "no interval"):
            troubles.setdefault(outcome, []).append(pool.name)
    told += [f"{_TROUBLE[outcome]}: {words.listed(names)}." for outcome, names in troubles.items()]
    return told


_TROUBLE = {
    "97 % never reached": "97 % of the best single arm's accuracy is never reached on",
    "a baseline is better": f"A baseline without labels saves more than {DEFAULT}, interval excluding 0, on",
    "costs more": "Routing costs more than the best single arm on",
    "nothing proven": "The saving at 97 % may be nothing (interval includes 0) on",
}
