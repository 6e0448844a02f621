"""The bars read the right row and figure, and a miss is a miss."""

from dataclasses import replace

import pytest

from bench.bars import MINILM, SCORING, STATIC, against_litellm, bars, beside, check, verdicts
from bench.measure import Row
from bench.results import Results, Series


def run_with(*series: Series) -> Results:
    return Results(series, (), {}, {}, "", "", "")


def static(**figures: float) -> Series:
    return Series(STATIC, Row(30, unique=True, streams=True), (figures,))


def test_a_row_that_was_not_measured_is_a_miss() -> None:
    assert not any(verdict.met for verdict in verdicts(run_with()))
    assert not check(run_with(), lambda line: None)


def test_the_median_of_the_rounds_decides() -> None:
    rounds = ({"cpu_gateway_ms": 0.5}, {"cpu_gateway_ms": 0.7}, {"cpu_gateway_ms": 9.0})
    results = run_with(Series(STATIC, Row(30, unique=True, streams=True), rounds))
    found = next(v for v in verdicts(results) if v.bar.figure == "cpu_gateway_ms" and v.bar.gateway == STATIC)
    assert found.value == 0.7
    assert found.met


def test_a_figure_above_its_bound_is_said_to_be_missed() -> None:
    said: list[str] = []
    check(run_with(static(ready_s=3.5)), said.append)
    assert any(line.startswith("MISSED  seconds to ready, static: 3.5") for line in said)


def beside_then(now: float, then: float) -> Results:
    row = Row(30, unique=True, streams=True)
    rounds = tuple({"cpu_ms": value, "added_p50_ms": 9 * value} for value in (0.9 * now, 1.1 * now))
    return run_with(Series(STATIC, row, rounds), Series("Gearshift at v1.0, static", row, ({"cpu_ms": then},)))


def test_todays_means_are_held_beside_an_earlier_versions() -> None:
    ((claim, ratio),) = beside(beside_then(1.09, 1.0))
    assert claim == f"cpu_ms of {STATIC}: {Row(30, unique=True, streams=True).label}, beside Gearshift at v1.0, static"
    assert ratio == pytest.approx(1.09)


@pytest.mark.parametrize(("now", "word"), [(1.09, "met   "), (1.11, "MISSED")])
def test_a_tenth_more_than_an_earlier_version_is_a_miss(now: float, word: str) -> None:
    said: list[str] = []
    check(beside_then(now, 1.0), said.append)
    assert [line[:6] for line in said if "v1.0" in line] == [word]


def test_without_an_earlier_version_nothing_is_held_beside() -> None:
    assert beside(run_with(static(cpu_ms=1.0))) == []


def test_a_cache_hit_has_a_bar_of_its_own() -> None:
    warm = Series(MINILM, Row(30, unique=False), ({"cpu_gateway_ms": 0.7},))
    found = [v for v in verdicts(run_with(warm)) if v.value is not None]
    assert [v.bar.claim for v in found] == ["CPU ms per routed request, minilm, cache hit"]


def test_the_ratio_to_litellm_is_theirs_over_ours() -> None:
    theirs = Series("LiteLLM proxy", Row(30, unique=True), ({"cpu_ms": 8.0},))
    assert against_litellm(run_with(static(cpu_ms=0.8), theirs)) == 10.0


def test_only_aims_may_be_missed() -> None:
    bound = {(bar.gateway, bar.unique, bar.figure): bar.bound for bar in bars() if not bar.aim}
    rows: dict[tuple[str, bool], dict[str, float]] = {}
    for (gateway, unique, figure), value in bound.items():
        rows.setdefault((gateway, unique), {})[figure] = value
    scoring = rows.pop((SCORING, True))
    series = [
        Series(gateway, Row(30, unique=unique, streams=True), (figures,)) for (gateway, unique), figures in rows.items()
    ]
    assert check(replace(run_with(*series), scoring=(scoring,)), lambda line: None)


def test_a_decision_that_takes_too_long_is_missed_by_the_median_of_the_rounds() -> None:
    rounds = ({"default_8_us": 90.0}, {"default_8_us": 101.0}, {"default_8_us": 300.0})
    found = [v for v in verdicts(replace(run_with(), scoring=rounds)) if v.bar.figure == "default_8_us"]
    assert [(v.value, v.met) for v in found] == [(101.0, False)]
