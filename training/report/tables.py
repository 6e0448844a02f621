"""The numbers as tables, the same ones for the page and for Markdown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.report import comparisons, words
from training.report.domains import DEARER, LOSES, PAYS, domain_rows
from training.report.result import QUALITIES, Estimate, PolicyResult, PoolResult, mapping, number
from training.report.summary import verdict

GOOD, BAD, SHORT, QUIET, NAME = "good", "bad", "short", "quiet", "name"
_TONES = {LOSES: BAD, DEARER: BAD, PAYS: GOOD}


@dataclass(frozen=True, slots=True)
class Cell:
    """Text and what it means: ``good``, ``bad``, ``short`` (of a promise), ``quiet``, ``name`` or nothing."""

    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headers; the first cell of a row names it."""

    title: str
    note: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def pool_tables(pool: PoolResult) -> list[Table]:
    """Every table of a pool that has rows."""
    makers = (saving_table, versus_table, quality_table, trust_table, domain_table, benchmark_table, arm_table)
    return [table for make in makers if (table := make(pool)).rows]


def glance_table(found: Sequence[PoolResult]) -> Table:
    """One line for each pool."""
    headers = (
        "pool", "verdict", "Save@97, %", "Save@100, %", "highest accuracy", "best single arm",
        "best baseline, Save@97", "lead over it, points", "prompts",
    )  # fmt: skip
    return Table("At a glance", "", headers, tuple(_glance(pool) for pool in found))


def _glance(pool: PoolResult) -> tuple[Cell, ...]:
    main = pool.main
    arm, accuracy, _ = pool.single("best_single")
    outcome = verdict(pool)
    tone = {"saves": GOOD, "no interval": QUIET}.get(outcome, BAD)
    first, last = (Cell(pool.name), Cell(outcome, tone)), Cell(words.count(number(pool.raw.get("n_test"))))
    if main is None:
        return (*first, *[Cell(words.NOTHING, QUIET)] * 6, last)
    skipped = (main.name, comparisons.TEACHER, "fixed")
    rivals = [each for each in pool.policies.values() if each.is_label_free and each.name not in skipped]
    rival = next((each for each in rivals if each.number("save_97") is not None), None)
    lead = comparisons.advantage(pool, main, rival, "save_97") if rival is not None else None
    told = f"{rival.name} {words.percent(rival.number('save_97'))}" if rival is not None else words.NOTHING
    own = (_saving(main, "97"), _saving(main, "100"), Cell(words.share(main.number("max_accuracy"))))
    return (*first, *own, Cell(f"{arm}, {words.share(accuracy)}", NAME), Cell(told, NAME), _lead(lead), last)


def saving_table(pool: PoolResult) -> Table:
    """Save@q on the test curve beside what λ chosen on training data alone achieved."""
    headers = ["policy"]
    for quality in QUALITIES:
        headers += [f"Save@{quality}, %", f"committed {quality} (realised)"]
    note = (
        "Save@q reads the test curve; committed chose λ on training data only, with what it saved and the share of the "
        "best single arm's accuracy that it realised, orange where less than asked."
    )
    rows = [
        (_name(each), *(cell for quality in QUALITIES for cell in (_saving(each, quality), _committed(each, quality))))
        for each in pool.policies.values()
    ]
    return Table("Saving at equal accuracy", note, tuple(headers), tuple(rows))


def _saving(policy: PolicyResult, quality: str) -> Cell:
    found = policy.estimate(f"save_{quality}")
    if found is None:
        return Cell(words.NOT_REACHED, QUIET)
    return Cell(f"{words.signless(found.value, 1)} {words.interval(found)}".strip(), BAD if found.is_negative else "")


def _committed(policy: PolicyResult, quality: str) -> Cell:
    saving, ratio = policy.committed(quality)
    if saving is None or ratio is None:
        return Cell(words.NOTHING, QUIET)
    short = 100 * ratio < float(quality)
    return Cell(f"{words.signless(saving, 1)} ({words.signless(100 * ratio, 1)})", SHORT if short else "")


def versus_table(pool: PoolResult) -> Table:
    """The main policy against every other, paired."""
    main = pool.main
    others = [each for each in pool.policies.values() if main is not None and each.name != main.name]
    metrics = ("save_95", "save_97", "save_99", "save_100", "max_accuracy")
    rows = []
    for other in others if main is not None else ():
        leads = [comparisons.advantage(pool, main, other, metric) for metric in metrics]  # type: ignore[arg-type]
        if any(lead is not None for lead in leads):
            rows.append((_name(other), *map(_lead, leads[:4]), _lead(leads[4], 100.0)))
    name = main.name if main is not None else ""
    note = f"Positive: {name} is better. Points, with paired 95 % intervals; coloured where the interval excludes 0."
    headers = ("against", *(f"Save@{quality}" for quality in QUALITIES), "highest accuracy")
    return Table(f"{words.title(name)} against every other".capitalize(), note, headers, tuple(rows))


def _lead(lead: Estimate | None, scale: float = 1.0) -> Cell:
    if lead is None:
        return Cell(words.NOTHING, QUIET)
    tone = GOOD if lead.is_positive else BAD if lead.is_negative else ""
    return Cell(f"{words.points(scale * lead.value)} {words.interval(lead, 1, scale)}".strip(), tone)


def quality_table(pool: PoolResult) -> Table:
    """Accuracy and area measures, and the cost of a right answer."""
    columns: tuple[tuple[str, Callable[[PolicyResult], str]], ...] = (
        ("highest accuracy, %", lambda each: _with_interval(each, "max_accuracy", 1, 100)),
        ("AIQ", lambda each: _with_interval(each, "aiq", 3)),
        ("APGR", lambda each: _with_interval(each, "apgr", 3)),
        ("CPT50, %", lambda each: _plain(each, "cpt50", 1)),
        ("CPT80, %", lambda each: _plain(each, "cpt80", 1)),
        ("USD per 1,000 right answers", lambda each: words.usd_per_thousand(each.number("cost_of_pass"))),
        ("saved of that against the best reasoning arm, %", lambda each: _plain(each, "cost_of_pass_saving_pct", 1)),
        ("E³", lambda each: words.significant(each.number("e3"))),
        ("gap to the oracle, %", lambda each: _plain(each, "gap_at_oracle", 1)),
    )
    note = "With multiple choice, part of the gap to the oracle is lucky guessing that no router can foresee."
    return _by_policy(pool, "Accuracy, area and cost of a right answer", note, columns)


def trust_table(pool: PoolResult) -> Table:
    """Are forecasts right, is the choice steady, is it fast."""
    columns: tuple[tuple[str, Callable[[PolicyResult], str]], ...] = (
        ("labels read", lambda each: "none at serving" if each.is_label_free else "yes: reference only"),
        ("ECE", lambda each: _with_interval(each, "ece", 3)),
        ("Brier", lambda each: _with_interval(each, "brier", 3)),
        ("same arm when reworded, %", _steadiness),
        ("decision, µs", lambda each: words.significant(each.number("decision_us"))),
        ("far from training, %", lambda each: _plain(each, "far_share", 1, 100)),
        ("fit, s", lambda each: words.significant(each.number("fit_s"), 2)),
    )
    return _by_policy(pool, "Calibration, steadiness and time", "Lower is better for ECE, Brier and times.", columns)


def _steadiness(policy: PolicyResult) -> str:
    rates = [rate for raw in mapping(policy.raw, "robustness").values() if (rate := number(raw)) is not None]
    return words.signless(sum(rates) / len(rates), 1) if rates else words.NOTHING


def _by_policy(
    pool: PoolResult, title: str, note: str, columns: Sequence[tuple[str, Callable[[PolicyResult], str]]]
) -> Table:
    rows = [(_name(each), *(_cell(show(each)) for _, show in columns)) for each in pool.policies.values()]
    return Table(title, note, ("policy", *(header for header, _ in columns)), tuple(rows))


def _with_interval(policy: PolicyResult, metric: str, digits: int, scale: float = 1.0) -> str:
    found = policy.estimate(metric)
    if found is None:
        return words.NOTHING
    return f"{words.signless(scale * found.value, digits)} {words.interval(found, digits, scale)}".strip()


def _plain(policy: PolicyResult, metric: str, digits: int, scale: float = 1.0) -> str:
    value = policy.number(metric)
    return words.NOTHING if value is None else words.signless(scale * value, digits)


def domain_table(pool: PoolResult) -> Table:
    """Each domain at the setting that keeps 97 % overall."""
    rows = [
        (
            Cell(words.title(row.name)),
            Cell(f"{row.n:,}"),
            Cell(words.percent(row.saving_pct), BAD if (row.saving_pct or 0) < 0 else GOOD),
            Cell(words.share(row.accuracy)),
            Cell(words.share(row.best_accuracy)),
            Cell(words.points(100 * row.gap), BAD if row.verdict == LOSES else ""),
            Cell(("▼ " if _TONES.get(row.verdict) == BAD else "") + row.verdict, _TONES.get(row.verdict, QUIET)),
        )
        for row in (domain_rows(pool.main) if pool.main is not None else ())
    ]
    headers = ("domain", "prompts", "saving", "accuracy", "best single arm's", "difference, points", "verdict")
    note = "Loses: below 97 % of the best single arm's accuracy by more than chance (95 %, unpaired, hence cautious)."
    return Table("By domain, at the setting that keeps 97 % overall", note, headers, tuple(rows))


def benchmark_table(pool: PoolResult) -> Table:
    """Each benchmark of a set that has several."""
    entries = mapping(pool.main.raw, "by_benchmark") if pool.main is not None else {}
    metrics = [name for name in _OF_BENCHMARKS if any(name in entry for entry in entries.values())]
    rows = [
        (
            Cell(words.title(name)),
            Cell(words.count(number(entry.get("n")))),
            *(_cell(_OF_BENCHMARKS[metric][1](number(entry.get(metric)))) for metric in metrics),
        )
        for name, entry in entries.items()
        if len(entries) > 1
    ]
    headers = ("benchmark", "prompts", *(_OF_BENCHMARKS[metric][0] for metric in metrics))
    return Table("By benchmark, each against its own best single arm", "", headers, tuple(rows))


def _one_digit(value: float | None) -> str:
    return words.NOTHING if value is None else words.signless(value, 1)


_OF_BENCHMARKS: dict[str, tuple[str, Callable[[float | None], str]]] = {
    **{f"save_{quality}": (f"Save@{quality}, %", _one_digit) for quality in QUALITIES},
    "max_accuracy": ("highest accuracy", words.share),
    "apgr": ("APGR", words.significant),
    "cpt50": ("CPT50, %", _one_digit),
    "cpt80": ("CPT80, %", _one_digit),
    "cost_of_pass": ("USD per 1,000 right answers", words.usd_per_thousand),
}


def arm_table(pool: PoolResult) -> Table:
    """The arms, numbered as in the picture, and how often the main policy takes each."""
    chosen = mapping(pool.main.raw, "chosen_at_97") if pool.main is not None else {}
    rows = [
        (
            Cell(f"{at} {arm['arm']}"),
            Cell(":".join(part for part in (arm.get("mode"), arm.get("effort")) if part) or words.NOTHING),
            Cell(words.share(number(arm["accuracy"]))),
            Cell(words.usd_per_thousand(number(arm["usd"]))),
            _cell(words.significant(number(arm.get("seconds")))),
            _cell(words.share(number(chosen.get(arm["arm"])) or 0.0) if chosen else words.NOTHING),
        )
        for at, arm in enumerate(pool.arms, start=1)
    ]
    headers = ("arm", "mode", "accuracy", "USD per 1,000", "seconds", "chosen at 97 %")
    return Table("Arms", "The cheapest first; numbers as in the picture.", headers, tuple(rows))


def _name(policy: PolicyResult) -> Cell:
    return Cell(policy.name + ("" if policy.is_label_free else " *"))


def _cell(text: str) -> Cell:
    return Cell(text, QUIET if text == words.NOTHING else "")


def markdown(table: Table) -> str:
    """A table for documents, under a bold title."""
    lines = [f"| {' | '.join(table.headers)} |", "|" + "---|" * len(table.headers)]
    for row in table.rows:
        shown = [f"**{cell.text}**" if cell.tone == BAD else cell.text for cell in row]
        lines.append("| " + " | ".join(text.replace("|", "\\|") for text in shown) + " |")
    return "\n".join(lines) + "\n"
