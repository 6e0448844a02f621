"""One shard of the archive, joined: decisions as they come, each with its outcome and the feedback on it.

Of a shard the outcomes' wanted columns and the feedback are held, as numbers where they repeat; decisions, which carry
the embeddings, are read a partition at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policies.archive_schema import SHARED, read_partition, schema
from policies.id_index import IdIndex, Rows, words_of

if TYPE_CHECKING:
    import pyarrow as pa

Mask = NDArray[np.bool_]
OF_OUTCOME = "outcome_"
_FEW = ("status", "served_arm")  # the same few strings in every row
_BOTH = (*SHARED, "at", "stream_id")  # of decisions and outcomes


@dataclass(frozen=True, slots=True)
class Wanted:
    """Columns of a joined table: of the decision, of the outcome, and whether ``feedback`` is one of them."""

    decision: tuple[str, ...]
    outcome: tuple[str, ...]
    feedback: bool

    @classmethod
    def of(cls, columns: Iterable[str] | None) -> "Wanted":
        """By their names in the joined table; None for all.

        Raises:
            ValueError: There is no such column.
        """
        decision, outcome = tuple(schema("decisions").names), tuple(schema("outcomes").names)
        if columns is None:
            return cls(decision, outcome, feedback=True)
        names = set(columns)
        known = {*decision, *(OF_OUTCOME + name for name in outcome), "feedback"}
        if names - known:
            raise ValueError(f"the log has no column {min(names - known)!r}")
        mine = tuple(name for name in decision if name in names)
        return cls(mine, tuple(name for name in outcome if OF_OUTCOME + name in names), "feedback" in names)


@dataclass(frozen=True, slots=True)
class Window:
    """POSIX times in which a request began: from ``since`` on and before ``until``, None for no bound."""

    since: float | None = None
    until: float | None = None

    def mask(self, table: "pa.Table") -> Mask:
        at = table["at"].to_numpy()
        inside = np.ones(len(at), dtype=np.bool_)
        if self.since is not None:
            inside &= at >= self.since
        if self.until is not None:
            inside &= at < self.until
        return inside


@dataclass(frozen=True, slots=True)
class Parts:
    """Partitions of one kind in one shard, oldest first, then tables of what is not archived yet."""

    kind: str
    paths: Sequence[Path]
    live: "Sequence[pa.Table]"

    def tables(self, columns: Iterable[str]) -> "Iterator[pa.Table]":
        """One after the other, as often as needed."""
        names = list(dict.fromkeys(columns))
        for path in self.paths:
            yield read_partition(path, self.kind, columns=names)
        for table in self.live:
            yield table.select(names)


def joined(
    decisions: Parts, outcomes: Parts, feedback: Parts, *, wanted: Wanted, window: Window
) -> "Iterator[pa.Table]":
    """A table per partition of decisions; at the end outcomes whose decision is not there, their ``kind`` null."""
    ended = _Ended(outcomes, wanted.outcome)
    given = _Given(feedback if wanted.feedback else Parts("feedback", (), ()))
    needed = ("request_id", "at", *(("decision_id",) if wanted.feedback else ()), *wanted.decision)
    for table in decisions.tables(needed):
        rows = ended.find(table["request_id"])
        kept = ended.unseen(rows, table["request_id"]) & window.mask(table)
        if kept.any():
            yield _side_by_side(_filtered(table, kept), ended.rows(rows[kept]), given, wanted)
    if window.since is None:  # else their decisions may just be older
        yield from _alone(outcomes, ended.alone(), given, wanted, window)


class _Ended:
    """A shard's outcomes by request, and which of them belong to a decision that was read."""

    def __init__(self, outcomes: Parts, columns: Sequence[str]) -> None:
        import pyarrow as pa

        words, tables = [words_of(pa.array([], pa.string()))], []
        for table in outcomes.tables(("request_id", *columns)):
            words.append(words_of(table["request_id"]))
            tables.append(_coded(table.select(list(columns))))
        empty = _coded(schema("outcomes").empty_table().select(list(columns)))
        self._table = pa.concat_tables([empty, *tables]).unify_dictionaries().combine_chunks()
        whole = np.concatenate(words)
        self._index, self._taken = IdIndex(whole), np.zeros(len(whole), dtype=np.bool_)
        self._open: set[str] = set()  # requests without an outcome

    def find(self, request_ids: "pa.ChunkedArray[Any]") -> Rows:
        """Row of each request's outcome, −1 while it is open, shape (n,)."""
        return self._index.find(words_of(request_ids))

    def unseen(self, rows: Rows, request_ids: "pa.ChunkedArray[Any]") -> Mask:
        """Requests that no earlier row was of; from now on these are seen too."""
        new, there = np.zeros(len(rows), dtype=np.bool_), np.flatnonzero(rows >= 0)
        first = there[np.unique(rows[there], return_index=True)[1]]
        new[first] = ~self._taken[rows[first]]
        self._taken[rows[there]] = True
        for place in np.flatnonzero(rows < 0):
            request_id = str(request_ids[int(place)])
            new[place] = request_id not in self._open
            self._open.add(request_id)
        return new

    def rows(self, rows: Rows) -> "pa.Table":
        """Outcomes of these rows, null for −1."""
        import pyarrow as pa

        found = self._table.take(_array(rows, mask=rows < 0))
        return found.cast(pa.schema([schema("outcomes").field(name) for name in found.column_names]))

    def alone(self) -> Mask:
        """Outcomes of which no decision was seen, without repeats, shape (n,)."""
        first = np.zeros(len(self._taken), dtype=np.bool_)
        first[self._index.first_rows] = True
        return first & ~self._taken


def _coded(table: "pa.Table") -> "pa.Table":
    for name in set(_FEW).intersection(table.column_names):
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].combine_chunks().dictionary_encode())
    return table


class _Given:
    """A shard's feedback by decision: the last value of every metric, in the order in which they were first given."""

    def __init__(self, feedback: Parts) -> None:
        import pyarrow as pa

        none = pa.array([], pa.string())
        words, ids, parts = [words_of(none)], [words_of(none)], []
        for table in feedback.tables(("feedback_id", "decision_id", "at", "metric", "value")):
            words.append(words_of(table["decision_id"]))
            ids.append(words_of(table["feedback_id"]))
            parts.append(_coded_metrics(table))
        empty = _coded_metrics(schema("feedback").empty_table())
        whole = pa.concat_tables([empty, *parts]).unify_dictionaries().combine_chunks()
        kept = IdIndex(np.concatenate(ids)).first_rows
        self._index = IdIndex(np.concatenate(words)[kept])
        decision = self._index.find(np.concatenate(words)[kept])
        self._decision, order = _last(whole.take(_array(kept)), decision)
        metrics: Any = whole["metric"].combine_chunks()
        self._metrics, self._code = metrics.dictionary, metrics.indices.to_numpy()[kept][order]
        self._value = whole["value"].to_numpy()[kept][order]

    def of(self, decision_ids: "pa.ChunkedArray[Any]") -> Any:
        """Metric -> value for each decision, empty where nobody judged it."""
        import pyarrow as pa

        kind = pa.map_(pa.string(), pa.float64())
        if not len(self._decision):
            return pa.array([[]] * len(decision_ids), type=kind)
        rows = self._index.find(words_of(decision_ids))
        first, last = (np.searchsorted(self._decision, rows, side=side) for side in ("left", "right"))
        lengths = np.where(rows >= 0, last - first, 0)
        ends = np.cumsum(lengths)
        picked = np.arange(ends[-1]) + np.repeat(first - (ends - lengths), lengths)
        keys = self._metrics.take(_array(self._code[picked]))
        offsets = _array(np.concatenate([[0], ends]).astype(np.int32))
        return pa.MapArray.from_arrays(offsets, keys, _array(self._value[picked])).cast(kind)


def _coded_metrics(table: "pa.Table") -> "pa.Table":
    metrics: Any = table["metric"].combine_chunks()
    metrics = metrics.fill_null("").dictionary_encode()
    return table.select(["at", "value"]).append_column("metric", metrics)


def _last(feedback: "pa.Table", decision: Rows) -> tuple[Rows, Rows]:
    """Decision and row of the last value of every metric, by decision, then by when the metric was first given."""
    metrics: Any = feedback["metric"].combine_chunks()
    code, at = metrics.indices.to_numpy(), feedback["at"].to_numpy()
    order = np.lexsort((at, code, decision))
    group, metric = decision[order], code[order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (group[1:] != group[:-1]) | (metric[1:] != metric[:-1])
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(order)) - 1 if len(starts) else starts
    by_first = np.lexsort((at[order[starts]], group[starts]))
    return group[starts][by_first], order[ends][by_first]


def _side_by_side(decisions: "pa.Table", outcomes: "pa.Table", given: _Given, wanted: Wanted) -> "pa.Table":
    table = decisions.select(list(wanted.decision))
    for name in outcomes.column_names:
        table = table.append_column(OF_OUTCOME + name, outcomes[name])
    return table.append_column("feedback", given.of(decisions["decision_id"])) if wanted.feedback else table


def _alone(outcomes: Parts, alone: Mask, given: _Given, wanted: Wanted, window: Window) -> "Iterator[pa.Table]":
    """Outcomes that no decision is there for: what both kinds say, else null. They are few, so they are read again."""
    import pyarrow as pa

    first = 0
    for table in outcomes.tables((*_BOTH, *wanted.outcome)) if alone.any() else ():
        kept = alone[first : first + len(table)] & window.mask(table)
        first += len(table)
        if kept.any():
            rows, types = _filtered(table, kept), schema("decisions")
            arrays = [rows[each.name] if each.name in _BOTH else pa.nulls(len(rows), each.type) for each in types]
            decisions = pa.Table.from_arrays(arrays, schema=types)
            yield _side_by_side(decisions, rows.select(list(wanted.outcome)), given, wanted)


def _filtered(table: "pa.Table", kept: Mask) -> "pa.Table":
    return table if kept.all() else table.filter(_array(kept))


def _array(values: NDArray[Any], mask: Mask | None = None) -> Any:
    """As an Arrow array: pyarrow's stubs take every array for one of booleans."""
    import pyarrow as pa

    return pa.array(values, mask=mask)
