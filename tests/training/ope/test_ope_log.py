"""The archive as rounds: what counts, what is left out and why."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from logged_world import ARMS, Row, rows_of, simulated, write_archive

from training.contender import Sample
from training.ope.log import Tally, open_rounds
from training.ope.missing import Missing
from training.ope.rounds import EvaluationError, Rounds, concatenated

Archive = Callable[[Sequence[Row]], Path]


def logged(world: Sample, n: int = 40) -> list[Row]:
    return rows_of(simulated(world, np.tile([0.5, 0.3, 0.2], (len(world), 1)), n=n))


def read(folder: Path, **options: str) -> tuple[Rounds, Tally]:
    tally = Tally()
    return concatenated(list(open_rounds(folder, **options).chunks(tally))), tally


def test_a_gateways_rows_come_back_as_they_were_drawn(world: Sample, archive: Archive) -> None:
    log = simulated(world, np.tile([0.5, 0.3, 0.2], (len(world), 1)), n=60)
    rounds, tally = read(archive(rows_of(log)))
    (drawn,) = log.chunks()
    assert rounds.arms == tuple(sorted(ARMS))
    order = [rounds.arms.index(name) for name in ARMS]
    assert np.array_equal(rounds.propensities[:, order], drawn.propensities)
    assert [rounds.arms[each] for each in rounds.action] == [ARMS[each] for each in drawn.action]
    for name in ("embeddings", "features", "quality", "trade_off"):
        assert np.array_equal(getattr(rounds, name), getattr(drawn, name)), name
    assert rounds.usd == pytest.approx(drawn.usd)
    assert (tally.n_rows, tally.n_rounds, tally.excluded) == (60, 60, {})
    assert tally.newest_at == pytest.approx(1.059)


def test_rounds_that_were_no_free_draw_are_left_out_and_counted(world: Sample, archive: Archive) -> None:
    rows = logged(world)
    kinds = ("forced", "sticky", "late", "single")
    for place, kind in enumerate(kinds):
        decision, vector, outcome, feedback = rows[place]
        rows[place] = (replace(decision, kind=kind), vector, outcome, feedback)
    rounds, tally = read(archive(rows))
    assert len(rounds) == 36
    assert tally.excluded == dict.fromkeys(kinds, 1)


def test_what_cannot_be_judged_is_left_out_and_counted(world: Sample, archive: Archive) -> None:
    rows = logged(world)
    rows[0] = (*rows[0][:3], None)
    rows[1] = (replace(rows[1][0], embedding_dim=0), *rows[1][1:])
    rows[2] = (replace(rows[2][0], encoder_id="older"), *rows[2][1:])
    rows[3] = (*rows[3][:2], replace(rows[3][2], status="unknown_after_crash"), rows[3][3])
    rounds, tally = read(archive(rows), encoder_id="e")
    assert len(rounds) == 36
    assert tally.excluded == {"unjudged": 1, "no embedding": 1, "another encoder": 1, "open": 1}


def test_an_arm_that_gave_no_answer_has_quality_nought(world: Sample, archive: Archive) -> None:
    rows = logged(world)
    rows[0] = (*rows[0][:2], replace(rows[0][2], status="error"), None)
    rows[1] = (*rows[1][:2], replace(rows[1][2], status="cancelled"), None)  # the client left: no failure of the arm
    rounds, tally = read(archive(rows))
    assert rounds.quality[0] == 0.0
    assert tally.excluded == {"unjudged": 1}


def test_failures_count_as_often_as_answers_are_judged(world: Sample, archive: Archive) -> None:
    """Half of the log fails, a quarter of the answers is judged: a quarter of the failures counts, in every pass."""
    rows = logged(world, n=2_000)
    for place, (decision, vector, outcome, feedback) in enumerate(rows):
        status, kept = ("error", None) if place % 2 else ("ok", feedback if place % 8 == 0 else None)
        rows[place] = (decision, vector, replace(outcome, status=status), kept)
    log, tally = open_rounds(archive(rows)), Tally()
    (rounds,) = log.chunks(tally)
    failed = len(rounds) - 250
    assert failed == pytest.approx(250, abs=42)  # three standard errors
    assert tally.excluded == {"unjudged": 2_000 - 250 - failed}
    (again,) = log.chunks()
    assert np.array_equal(again.at, rounds.at)


def test_later_requests_of_a_turn_add_their_cost_to_its_decision(world: Sample, archive: Archive) -> None:
    rows = logged(world)
    first = rows[0][0].decision_id
    decision, vector, outcome, _ = rows[1]
    rows[1] = (
        replace(decision, kind="sticky", decision_id=first),
        vector,
        replace(outcome, decision_id=first, nano_usd=7_000_000, seconds=2.5),
        None,
    )
    rounds, _ = read(archive(rows))
    assert rounds.usd[0] == pytest.approx(rows[0][2].nano_usd / 1e9 + 0.007)
    assert rounds.seconds[0] == pytest.approx(3.5)


def test_an_unknown_price_is_unknown_never_nought(world: Sample, archive: Archive) -> None:
    rows = logged(world)
    rows[0] = (*rows[0][:2], replace(rows[0][2], nano_usd=None), rows[0][3])
    assert np.isnan(read(archive(rows))[0].usd[0])


def test_another_metric_may_be_the_quality(world: Sample, archive: Archive) -> None:
    rows = logged(world)
    rows = [(*row[:3], replace(row[3], metric="mine", value=0.25)) for row in rows if row[3] is not None]
    assert set(read(archive(rows), metric="mine")[0].quality) == {0.25}


def test_a_metric_outside_its_range_is_refused_by_name(world: Sample, archive: Archive) -> None:
    rows = [(*row[:3], replace(row[3], metric="stars", value=4.0)) for row in logged(world) if row[3] is not None]
    with pytest.raises(EvaluationError, match=r"metric 'stars' has values outside 0\.\.1"):
        read(archive(rows), metric="stars")


def test_a_folder_without_a_log_and_a_log_without_draws_are_refused(
    tmp_path: Path, world: Sample, archive: Archive
) -> None:
    with pytest.raises(EvaluationError, match=r"no archive/decisions there.* gearshift log archive"):
        open_rounds(tmp_path)
    forced = [(replace(row[0], kind="forced"), *row[1:]) for row in logged(world)]
    with pytest.raises(EvaluationError, match="no drawn decision"):
        open_rounds(archive(forced))


def test_a_log_in_which_nobody_judged_anything_has_no_round(world: Sample, archive: Archive) -> None:
    rows = [(*row[:3], None) for row in logged(world)]
    with pytest.raises(EvaluationError, match="no round"):
        read(archive(rows))


def test_unjudged_rounds_may_stay_to_be_imputed(world: Sample, archive: Archive) -> None:
    rows = logged(world)
    rows[0] = (*rows[0][:3], None)
    log = open_rounds(archive(rows), missing=Missing("impute"))
    (rounds,) = log.chunks()
    assert len(rounds) == 40
    assert np.isnan(rounds.quality).tolist() == [True, *[False] * 39]
    (labels,) = log.labels()
    assert len(labels) == 39  # nothing is learned from what nobody judged


def test_the_newest_rounds_are_censored_whether_judged_or_not(world: Sample, archive: Archive) -> None:
    rows = logged(world)
    rows[0] = (*rows[0][:3], None)  # rounds began 1 ms apart
    tally = Tally()
    log = open_rounds(archive(rows), missing=Missing("censor", within_s=0.0095))
    assert sum(map(len, log.chunks(tally))) == 29
    assert tally.excluded == {"unjudged": 1, "too recent": 10}


def test_a_damaged_partition_is_named_and_nothing_is_evaluated(world: Sample, archive: Archive) -> None:
    folder = archive(logged(world))
    log = open_rounds(folder)
    (path,) = folder.glob("archive/feedback/*/*.parquet")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(EvaluationError, match=f"{path.name}: no readable partition"):
        list(log.chunks())


def test_a_window_reads_the_rounds_that_began_in_it(world: Sample, archive: Archive) -> None:
    log = open_rounds(archive(logged(world)))
    (whole,) = log.chunks()
    cut = float(whole.at[25])
    (older,), (newer,) = replace(log, until=cut).chunks(), replace(log, since=cut).chunks()
    assert np.array_equal(concatenated([older, newer]).quality, whole.quality)
    assert (len(older), len(newer)) == (25, 15)


def test_small_partitions_are_read_together(world: Sample, archive: Archive) -> None:
    folder = archive(logged(world, n=60))
    (whole,) = open_rounds(folder).chunks()
    for kind in ("decisions", "outcomes", "feedback"):
        (path,) = folder.glob(f"archive/{kind}/*/*.parquet")
        table = pq.read_table(path, partitioning=None)
        path.unlink()
        for start in range(0, 60, 5):
            part = path.with_name(f"{1000 + start}-0-{1004 + start}-0.parquet")
            pq.write_table(table.slice(start, 5), part)
    (again,) = open_rounds(folder).chunks()
    for each in fields(Rounds):
        assert np.array_equal(getattr(again, each.name), getattr(whole, each.name)), each.name


def test_a_clients_bound_comes_back_and_a_log_from_before_it_was_logged_has_none(
    world: Sample, archive: Archive
) -> None:
    rows = logged(world)
    rows[0] = (replace(rows[0][0], max_tokens=64), *rows[0][1:])
    folder = archive(rows)
    assert read(folder)[0].max_tokens.tolist() == [64.0, *[np.inf] * 39]
    (path,) = folder.glob("archive/decisions/*/*.parquet")
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["max_tokens"]), path)
    older, tally = read(folder)
    assert older.max_tokens.tolist() == [np.inf] * 40
    assert tally.n_rounds == 40


def test_what_several_later_requests_add_is_summed_and_open_ones_add_nothing(world: Sample, archive: Archive) -> None:
    rows = logged(world)
    first = rows[0][0].decision_id
    for place, status in ((1, "ok"), (2, "error"), (3, "unknown_after_crash")):
        decision, vector, outcome, _ = rows[place]
        kept = replace(decision, kind="sticky", decision_id=first)
        rows[place] = (kept, vector, replace(outcome, decision_id=first, status=status, seconds=2.0), None)
    rounds, _ = read(archive(rows))
    assert rounds.seconds[0] == pytest.approx(rows[0][2].seconds + 4.0)
    assert rounds.seconds[1] == pytest.approx(rows[4][2].seconds)


def test_what_a_running_gateway_archives_meanwhile_is_not_read(world: Sample, archive: Archive, tmp_path: Path) -> None:
    """A judgement of the first round, and rounds of a new arm: each would part rounds from their folds."""
    rows = logged(world)
    later = [
        (replace(row[0], arms=["new/instant", *ARMS[:2]], arm="new/instant"), *row[1:])
        for row in logged(world, n=60)[40:]
    ]
    folder = archive([(*rows[0][:3], None), *rows[1:]])
    log = open_rounds(folder)
    (before,) = log.chunks()
    for number, added in enumerate(([rows[0]], later)):
        for path in write_archive(tmp_path / f"{number}", added).glob("archive/*/*/*.parquet"):
            kept = folder / path.relative_to(tmp_path / f"{number}").with_name(
                f"{2000 + number}-0-{2000 + number}-0.parquet"
            )
            path.rename(kept)
    (after,) = log.chunks()
    for each in fields(Rounds):
        assert np.array_equal(getattr(after, each.name), getattr(before, each.name)), each.name
    assert len(open_rounds(folder).arms) == 4  # opened again, all of it is there
