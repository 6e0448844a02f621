"""Rounds out of the gateway's archive: which rows can be evaluated on, and why the others cannot."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from policies.archive_schema import files_of
from policies.prices import NANO
from training.ope.arrow import counts, flat, is_value, matrix, place_of, vectors, whole
from training.ope.judged import Judged, failed, first_given, given, with_failures
from training.ope.later import SUMMED, Later, LaterRequests
from training.ope.missing import Missing
from training.ope.rounds import EvaluationError, Mask, Reals, Rounds
from training.ope.tables import filtered, gathered, read_tables
from training.records.archive import METRICS, is_archive

if TYPE_CHECKING:
    import pyarrow as pa

NO_END = (None, "unknown_after_crash")
Progress = Callable[[str, int, int], None]
Label = Callable[["pa.Table"], tuple[Reals, Reals]]  # quality of each row, NaN where unknown, and its weight
DRAWN = frozenset({"drawn"})
LABELLED = DRAWN | {"forced", "late", "single"}  # no free draws, but who served and what came of it is known
_FIRST_LOOK = ("kind", "arms", "encoder_id", "at", "decision_id", "outcome_status", *SUMMED)
_COLUMNS = (
    "kind", "at", "decision_id", "tenant", "arm", "arms", "propensities", "trade_off", "prompt_tokens", "max_tokens",
    "encoder_id", "embedding_dim", "embedding", "features", "parent_id", "outcome_status", "outcome_served_arm",
    "feedback", *SUMMED,
)  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What became of the log's rows.

    Attributes:
        n_rows / n_rounds: Rows read, and those that are rounds.
        excluded: Reason -> rows left out. ``forced``, ``sticky``, ``late`` and ``single`` were no free draw.
        newest_at: POSIX seconds of the newest row; what began later is not archived yet. None before any was read.
    """

    n_rows: int = 0
    n_rounds: int = 0
    excluded: Counter[str] = field(default_factory=Counter)
    newest_at: float | None = None


class Sources(Protocol):
    """Metrics beside the one that is the quality, and what each is worth."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def labels(self, quality: Reals, others: Reals) -> tuple[Reals, Reals]:
        """Quality and weight of each round from ``Judged.quality`` and ``Judged.others``, each (n,)."""
        ...


class RoundsSource(Protocol):
    """Anything that can be read as rounds, again and again in the same order."""

    def chunks(self, tally: Tally | None = None, *, progress: Progress | None = None) -> Iterator[Rounds]: ...


@dataclass(frozen=True, slots=True)
class LoggedRounds:
    """A gateway's data directory, read as rounds as often as needed.

    Attributes:
        files: Partitions that there were when it was opened. A running gateway adds to them: rows that a later pass
            alone saw would move rounds to other folds, bring arms nobody knows, and be learned from untold.
        encoder_id: Only rounds embedded by it.
        until: Only rounds that began before this POSIX time.
        metric: Feedback that is the quality, within 0..1; None takes the first there is of the gateway's own.
        arms: Every arm that was eligible in some round.
        began: POSIX seconds of every drawn decision, in the log's order.
        later: What later requests of a turn added to its decision.
        missing: What becomes of rounds without a judgement.
        steps: Whether decisions of cascade steps are rounds too, beside those of the requests that led to them.
    """

    folder: Path
    files: frozenset[Path] = field(repr=False)
    encoder_id: str
    metric: str | None
    since: float | None
    until: float
    arms: tuple[str, ...]
    began: Reals = field(repr=False)
    later: Later = field(repr=False)
    missing: Missing = field(default_factory=Missing)
    steps: bool = True

    def chunks(self, tally: Tally | None = None, *, progress: Progress | None = None) -> Iterator[Rounds]:
        """Rounds with an outcome, some thousands at a time; quality is NaN only where it is to be imputed.

        Raises:
            EvaluationError: A partition is damaged, or the metric has values outside 0..1.
        """
        return self._read(tally or Tally(), DRAWN, progress, self._judged)

    def labels(
        self, tally: Tally | None = None, *, progress: Progress | None = None, sources: Sources | None = None
    ) -> Iterator[Rounds]:
        """Likewise what can be learned from: also rounds that were no free draw, ``action`` being the arm that served.

        A round that a fallback answered belongs to the arm that answered.

        Args:
            sources: Label rounds without the metric that is the quality; None leaves them out.
        """
        label = self._judged if sources is None else partial(self._labelled, sources)
        return self._read(tally or Tally(), LABELLED, progress, label)

    def judgements(self, others: Sequence[str], *, progress: Progress | None = None) -> Iterator[Judged]:
        """What the metric that is the quality and ``others`` said of the same answers, of those of ``labels``.

        Failures that nobody judged are left out: their quality is known, but no metric said it.
        """
        for table in self._chunks(Tally(), progress):
            quality, said = self._said(table), given(table, others)
            unsaid = np.isnan(np.column_stack([quality, said])).all(axis=1)
            kept = self._kept(table, np.where(unsaid, np.nan, 0.0), Tally(), LABELLED)
            kept &= ~(failed(table) & np.isnan(quality))
            served = place_of(table["outcome_served_arm"], self.arms)
            yield Judged(served[kept], quality[kept], said[kept])

    def _chunks(self, told: Tally, progress: Progress | None) -> "Iterator[pa.Table]":
        until = self.until if self.until < np.inf else None
        tables = read_tables(self.folder, since=self.since, until=until, columns=_COLUMNS, only=self.files)
        for table in gathered(tables):
            told.n_rows += table.num_rows
            if table.num_rows:
                told.newest_at = max(told.newest_at or 0.0, float(table["at"].to_numpy().max()))
            yield table
            if progress is not None:
                progress("reading rounds", told.n_rows, told.n_rows)

    def _read(self, told: Tally, kinds: frozenset[str], progress: Progress | None, label: Label) -> Iterator[Rounds]:
        acted = "arm" if kinds == DRAWN else "outcome_served_arm"
        for table in self._chunks(told, progress):
            quality, weight = label(table)
            kept = self._kept(table, quality, told, kinds)
            told.n_rounds += int(kept.sum())
            if kept.any():
                yield self._columns(filtered(table, kept), quality[kept], weight[kept], acted)

    def _kept(self, table: "pa.Table", quality: Reals, tally: Tally, kinds: frozenset[str]) -> Mask:
        kept = np.ones(table.num_rows, dtype=np.bool_)
        for reason, fails in self._reasons(table, quality, kinds):
            if (kept & fails).any():
                tally.excluded[reason] += int((kept & fails).sum())
            kept &= ~fails
        return kept

    def _reasons(self, table: "pa.Table", quality: Reals, kinds: frozenset[str]) -> Iterator[tuple[str, Mask]]:
        """Why rows are no rounds, the first reason of a row first, and which rows each is true of."""
        kind, status = table["kind"], table["outcome_status"]
        for found in whole(kind).unique().to_pylist():
            if found not in kinds:
                yield found or "outcome without decision", is_value(kind, found)
        if not self.steps:
            yield "cascade step", ~is_value(table["parent_id"], None)
        yield "open", np.logical_or.reduce([is_value(status, each) for each in NO_END])
        yield "no embedding", whole(table["embedding_dim"]).fill_null(0).to_numpy() == 0
        yield "another encoder", ~is_value(table["encoder_id"], self.encoder_id)
        if kinds != DRAWN:
            yield "no arm served", place_of(table["outcome_served_arm"], self.arms) < 0
        if self.missing.how == "censor":
            yield "too recent", table["at"].to_numpy() > self.began.max() - self.missing.within_s
        if self.missing.how != "impute" or kinds != DRAWN:
            yield "unjudged", np.isnan(quality)

    def _said(self, table: "pa.Table") -> Reals:
        """By the metric that is the quality, NaN where it said nothing, shape (n,)."""
        found = first_given(table, (self.metric,) if self.metric else METRICS)
        if ((found < 0.0) | (found > 1.0)).any():
            raise EvaluationError(
                f"{self.folder / 'archive' / 'feedback'}: metric {self.metric or METRICS[0]!r} has values outside "
                "0..1; choose another with --metric"
            )
        return found

    def _judged(self, table: "pa.Table") -> tuple[Reals, Reals]:
        """Quality by its metric, 0 where the arm gave no answer; every judgement counts as one."""
        said = self._said(table)
        return with_failures(table, said, said, np.ones(len(said)))

    def _labelled(self, sources: Sources, table: "pa.Table") -> tuple[Reals, Reals]:
        """Likewise, and what other metrics let expect where that one said nothing."""
        said = self._said(table)
        return with_failures(table, said, *sources.labels(said, given(table, sources.names)))

    def _columns(self, table: "pa.Table", quality: Reals, weight: Reals, acted: str) -> Rounds:
        n, m = table.num_rows, len(self.arms)
        eligible, propensities = np.zeros((n, m), dtype=np.bool_), np.zeros((n, m))
        row, names = flat(table["arms"])
        column = place_of(names, self.arms)
        eligible[row, column] = True
        propensities[row, column] = flat(table["propensities"])[1].to_numpy(zero_copy_only=False)
        trade_off = matrix(table["trade_off"])
        trade_off[:, 3] = np.where(np.isnan(trade_off[:, 3]), np.inf, trade_off[:, 3])
        sums = np.stack([table[name].to_numpy().astype(np.float64) for name in SUMMED], axis=1)
        sums += self.later.of(table["decision_id"])
        return Rounds(
            arms=self.arms,
            embeddings=vectors(table["embedding"]),
            features=matrix(table["features"]).astype(np.float32),
            prompt_tokens=table["prompt_tokens"].to_numpy().astype(np.float64),
            max_tokens=whole(table["max_tokens"]).cast("float64").fill_null(np.inf).to_numpy(),
            propensities=propensities,
            eligible=eligible,
            action=place_of(table[acted], self.arms),
            quality=quality,
            weight=weight,
            usd=sums[:, 0] / NANO,
            seconds=sums[:, 1],
            input_tokens=sums[:, 2],
            output_tokens=sums[:, 3],
            trade_off=trade_off,
            tenant=np.array(table["tenant"].to_pylist(), dtype=np.str_),
            at=table["at"].to_numpy().astype(np.float64),
        )


def open_rounds(
    folder: Path,
    *,
    encoder_id: str = "",
    metric: str | None = None,
    since: float | None = None,
    until: float = np.inf,
    missing: Missing | None = None,
    steps: bool = True,
) -> LoggedRounds:
    """Read through the log once: which arms there were, and what later requests of a turn added.

    Args:
        encoder_id: Only rounds embedded by it; empty for the encoder of most of them.

    Raises:
        EvaluationError: It is no gateway's data directory, holds no drawn decision, or a partition is damaged.
    """
    import pyarrow as pa

    if not is_archive(folder):
        raise EvaluationError(
            f"{folder}: no archive/decisions there; name a gateway's data directory (store.dir). Of a gateway that has "
            "just started, or was killed, the log is not there yet: run gearshift log archive"
        )
    arms: set[str] = set()
    encoders: Counter[str] = Counter()
    began: list[Reals] = []
    later, files = LaterRequests(), files_of(folder)
    for table in gathered(read_tables(folder, since=since, until=None, columns=_FIRST_LOOK, only=files)):
        drawn = table.filter(pa.array(is_value(table["kind"], "drawn")))
        arms.update(flat(drawn["arms"])[1].unique().to_pylist())
        encoders.update(counts(drawn["encoder_id"]))
        began.append(drawn["at"].to_numpy().astype(np.float64))
        ended = ~np.logical_or.reduce([is_value(table["outcome_status"], each) for each in NO_END])
        later.add(table.filter(pa.array(is_value(table["kind"], "sticky") & ended)))
    if not arms:
        raise EvaluationError(
            f"{folder}: the log holds no drawn decision with two or more arms; nothing to evaluate on"
        )
    wanted = encoder_id or max(sorted(encoders), key=encoders.__getitem__)
    return LoggedRounds(
        folder,
        files,
        wanted,
        metric,
        since,
        until,
        tuple(sorted(arms)),
        np.concatenate(began),
        later.summed(),
        missing or Missing(),
        steps,
    )
