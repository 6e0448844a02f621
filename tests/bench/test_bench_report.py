import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.measure import Row
from bench.picture import svg
from bench.report import markdown, number, tables, verdict, with_spread
from bench.results import Results, Round, collect, save_json
from bench.stats import Spread

ROW = Row(30, unique=True)
DIRECT = {
    "upstream_rps": 90_000.0,
    "upstream_and_load_on_one_core_rps": 80_000.0,
    "upstream_burst_streams_per_s": 1000.0,
    "upstream_paced_streams_per_s": 500.0,
}


def one_round(ours_ms: float) -> Round:
    peers = {("Slow", ROW): {"cpu_ms": 8.0, "rps": 120.0}, ("Fast", ROW): {"cpu_ms": 0.01, "rps": 40_000.0}}
    return {**peers, ("Gearshift, static", ROW): {"cpu_ms": ours_ms, "rps": 2000.0}}


def results(*rounds: Round) -> Results:
    series = collect(rounds)
    return Results(series, (DIRECT,) * len(rounds), {"Slow": "1.0"}, {}, "python -m bench", "now", "a machine")


def test_a_gain_and_a_loss_are_printed_alike() -> None:
    table = tables(results(one_round(0.4)))[0]
    assert table.head == ("", "Slow", "Fast")
    assert table.rows == (("Gearshift, static: 30 words, cold", "20x less", "40x more"),)


def test_a_loss_keeps_its_extremes_in_order() -> None:
    assert verdict(Spread(0.5, 0.25, 0.8, 5)) == "2x more (1.25–4)"
    assert verdict(Spread(2.0, 1.5, 4.0, 5)) == "2x less (1.50–4)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01064, "0.0106"),
        (0.144, "0.144"),
        (8.0312, "8.03"),
        (61.3, "61.3"),
        (16.0, "16"),
        (211233.4, "211,233"),
    ],
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert number(value) == text


def test_a_cell_shows_the_spread_of_the_rounds() -> None:
    assert with_spread(Spread(2.0, 1.0, 3.0, 5)) == "2 (1–3)"
    assert with_spread(Spread(2.0, 2.0, 2.0, 3)) == "2"
    assert with_spread(None) == "–"


def test_medians_are_taken_over_the_rounds() -> None:
    page = markdown(results(one_round(0.4), one_round(0.8), one_round(0.5)))
    assert "0.500 (0.400–0.800)" in page
    assert "16x less (10–20)" in page
    assert "3 interleaved rounds" in page


def test_a_single_decision_is_shown_by_policy_and_number_of_arms() -> None:
    figures = {"default_8_us": 50.0, "linear_8_us": 40.0, "default_100_us": 140.0, "linear_100_us": 90.0}
    page = markdown(replace(results(one_round(0.4)), scoring=(figures,)))
    assert "| score 8 arms, µs | score 100 arms, µs |" in page
    assert "| default | 50 | 140 |" in page


def test_a_failed_round_is_listed_and_not_averaged_in() -> None:
    failed: Round = {**one_round(0.4), ("Gearshift, static", ROW): "port 1: 3 of 5 requests failed"}
    got = results(one_round(0.4), failed)
    assert "3 of 5 requests failed" in markdown(got)
    ours = got.series[-1]
    assert (ours.values("cpu_ms"), len(ours.errors)) == ([0.4], 1)


def test_a_missing_peer_is_named() -> None:
    page = markdown(replace(results(one_round(0.4)), missing={"nginx": "nginx is not installed"}))
    assert "not measured: nginx is not installed" in page


def test_an_upstream_too_slow_to_prove_anything_shows_it() -> None:
    page = markdown(results(one_round(0.4)))
    assert "2x the fastest gateway" in page


def test_only_prompts_of_the_same_length_are_compared() -> None:
    long = Row(400, unique=True)
    got = results({**one_round(0.4), ("Slow", long): {"cpu_ms": 9.0}})
    assert [p.gateway for p in got.peers_of(got.series[2])] == ["Slow", "Fast"]
    assert {p.row.words for p in got.peers_of(got.series[2])} == {30}


def test_the_picture_is_well_formed_and_draws_every_row() -> None:
    root = ElementTree.fromstring(svg(results(one_round(0.4), one_round(0.5))))
    bars = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("class") in {"ours", "peer"}]
    assert len(bars) == 3
    widths = [float(bar.get("width", "0")) for bar in bars]
    assert widths == sorted(widths)
    assert widths[0] > 0


def test_the_file_holds_every_round(tmp_path: Path) -> None:
    save_json(results(one_round(0.4), one_round(0.5)), tmp_path / "r.json")
    series = json.loads((tmp_path / "r.json").read_text())["series"]
    assert [r["cpu_ms"] for r in series[-1]["rounds"]] == [0.4, 0.5]
