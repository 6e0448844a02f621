"""What a report tells of the run itself: encoder, time, processes, command and the pools that were left out."""

from pathlib import Path
from typing import Any

import pytest

from policies.encoders.base import Encoder
from training.benchmark.seeing import FittedInside
from training.benchmark.show import print_result
from training.report import markdown_tables, words, write_report
from training.report.origin import encoder_told, facts, origin_lines, skipped_pools, time_told

RUN = {
    "wall_s": 7_983.4,
    "jobs": 2,
    "skipped": {"twins_2026": "no row for arm new/reasoning\nin <outcomes>", "far [away]": "no such file"},
}


def run_of(**more: Any) -> dict[str, Any]:
    """A result without policies, so that nothing need be drawn."""
    return {
        "format": 1, "split": "5-fold", "seed": 0, "encoder": "static-1a2b", "data": "mine",
        "command": "gearshift benchmark --train mine", "pools": {"q": {"policies": {}, "arms": []}},
    } | more  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0, "0 s"), (8.34, "8.3 s"), (9.97, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (725.0, "12 min 5 s"),
     (3_599.6, "1 h 0 min"), (7_983.4, "2 h 13 min"), (90_000.0, "25 h 0 min")],
)  # fmt: skip
def test_a_duration_has_two_units_and_never_sixty_of_one(seconds: float, told: str) -> None:
    assert words.duration(seconds) == told


@pytest.mark.parametrize(
    ("run", "told"),
    [(RUN, "2 h 13 min with 2 processes"), ({"wall_s": 42.0}, "42 s"), ({"jobs": 1}, "1 process"), ({}, ""),
     ({"wall_s": None, "jobs": None}, ""), ({"wall_s": "long", "jobs": True}, ""), ({"wall_s": -1.0, "jobs": 0}, "")],
)  # fmt: skip
def test_time_and_processes_are_told_as_far_as_they_are_recorded(run: dict[str, Any], told: str) -> None:
    assert time_told(run) == told


def test_an_encoder_fitted_inside_every_part_is_told_as_such(encoder: Encoder, tmp_path: Path) -> None:
    inside = FittedInside(encoder, tmp_path).encoder_id
    assert encoder_told({"encoder": inside}) == f"{inside}, fitted inside every part"
    assert encoder_told({"encoder": encoder.encoder_id}) == encoder.encoder_id
    assert encoder_told({}) == encoder_told({"encoder": None}) == ""


@pytest.mark.parametrize("run", [{}, {"skipped": None}, {"skipped": {}}, {"skipped": ["p"]}])
def test_where_no_pool_was_skipped_none_is_told(run: dict[str, Any]) -> None:
    assert skipped_pools(run) == []


def test_the_page_tells_time_and_every_skipped_pool_with_its_reason(tmp_path: Path) -> None:
    text = write_report(run_of(**RUN), tmp_path).html.read_text()
    assert "<dt>Took</dt><dd>2 h 13 min with 2 processes</dd>" in text
    assert "<strong>twins_2026</strong>: no row for arm new/reasoning in &lt;outcomes&gt;" in text
    assert "<strong>far [away]</strong>: no such file" in text


def test_the_page_of_an_older_result_tells_neither_time_nor_skipped_pools(tmp_path: Path) -> None:
    head = write_report(run_of(), tmp_path).html.read_text().split("How to read this")[0]
    assert "Took" not in head
    assert "Skipped" not in head
    assert ("Command", "not recorded") in facts({})
    assert "Took" not in dict(facts({}))


def test_markdown_tells_what_its_figures_come_from() -> None:
    text = markdown_tables(run_of(**RUN)).split("### q")[0]
    assert "|\n\n- Command: `gearshift benchmark --train mine`\n- Encoder: static-1a2b\n- Took: 2 h 13 min with" in text
    assert text.endswith("\n- Skipped `far [away]`: no such file\n\n")


def test_markdown_of_a_result_that_tells_nothing_is_tables_alone() -> None:
    told = {key: value for key, value in run_of().items() if key in ("format", "pools")}
    assert origin_lines(told) == []
    assert "|\n\n### q" in markdown_tables(told)


def test_the_terminal_tells_them_below_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(run_of(**RUN, pools={}))
    assert capsys.readouterr().out.splitlines() == [
        "encoder static-1a2b",
        "took 2 h 13 min with 2 processes",
        "skipped twins_2026: no row for arm new/reasoning in <outcomes>",
        "skipped far [away]: no such file",
    ]


def test_the_terminal_tells_nothing_of_what_is_not_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    print_result({"pools": {}})
    assert capsys.readouterr().out == ""
