from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from policies.tables import OutcomeTable
from training.replay_report import Choice, baselines, oracle_actions, replay_report, report_markdown, report_table


def choices(table: OutcomeTable, action: int) -> list[Choice]:
    return [
        Choice(table.query_ids[i], table.arm_names[action], float(table.scores[i, action]), float(table.usd[i, action]))
        for i in range(len(table))
    ]


def test_a_single_arm_lies_on_the_hull_and_gains_nothing(world: OutcomeTable) -> None:
    report = replay_report(world, {"always dear": choices(world, 1)}, n_replicates=200)
    gain = report.routers[0].gain
    assert gain.gain.value == pytest.approx(0.0)
    assert gain.saving == pytest.approx(0.0)
    assert report.routers[0].share == {"cheap/instant": 0.0, "dear/instant": 1.0}


def test_the_order_of_the_choices_does_not_matter(world: OutcomeTable) -> None:
    straight = replay_report(world, {"r": choices(world, 0)}, n_replicates=50)
    assert replay_report(world, {"r": choices(world, 0)[::-1]}, n_replicates=50) == straight


def test_a_query_left_out_or_decided_twice_is_refused(world: OutcomeTable) -> None:
    for wrong in (choices(world, 0)[1:], choices(world, 0)[1:] + choices(world, 0)[-1:]):
        with pytest.raises(ValueError, match="once each"):
            replay_report(world, {"r": wrong}, n_replicates=10)


def test_an_arm_the_pool_does_not_hold_is_refused(world: OutcomeTable) -> None:
    wrong = [*choices(world, 0)[1:], Choice(world.query_ids[0], "other/instant", 1.0, 0.0)]
    with pytest.raises(ValueError, match="other/instant"):
        replay_report(world, {"r": wrong}, n_replicates=10)


def test_baselines_are_every_arm_chance_and_the_oracle(world: OutcomeTable) -> None:
    rows = {row.name: row for row in baselines(world, n_replicates=50)}
    assert list(rows) == ["cheap/instant (cheapest)", "dear/instant", "uniform random", "oracle"]
    assert rows["uniform random"].accuracy.value == pytest.approx(world.scores.mean())
    assert rows["oracle"].accuracy.value == pytest.approx(world.scores.max(axis=1).mean())


def test_the_oracle_takes_the_cheapest_of_equally_good_arms() -> None:
    scores, usd = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]), np.array([[2.0, 1.0], [1.0, 2.0], [1.0, 2.0]])
    assert oracle_actions(scores, usd).tolist() == [1, 1, 0]


def test_the_printed_table_shows_gain_and_interval(world: OutcomeTable) -> None:
    console = Console(width=120, file=StringIO())
    console.print(report_table(replay_report(world, {"always dear": choices(world, 1)}, n_replicates=50)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "+0.00 [" in text
    assert "oracle" in text


def test_the_markdown_table_has_a_row_for_each_router_and_baseline(world: OutcomeTable) -> None:
    lines = report_markdown(replay_report(world, {"always dear": choices(world, 1)}, n_replicates=50)).splitlines()
    assert len(lines) == 2 + 1 + 4
    assert {line.count("|") for line in lines} == {7}
    assert lines[2].startswith(f"| **always dear** | {100 * world.scores[:, 1].mean():.2f} ± ")
