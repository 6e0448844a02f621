"""From a stream of records to the full-information table that fitting and evaluation take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.arms import Arm
from policies.features import estimate_tokens
from policies.predictions import Reals
from policies.prices import NANO, Price, Usage, cost_nano_usd
from policies.tables import OutcomeTable
from training.records.record import RecordError, arm_fields, arm_of
from training.records.stream import Progress, RecordStream

if TYPE_CHECKING:
    import pyarrow as pa

_COUNT_COLUMNS = ("query_id", "model", "mode", "effort", "options", "score")
_SUMS = ("score", "usd", "input", "output", "seconds", "n")


@dataclass(frozen=True, slots=True)
class Coverage:
    """What became of a stream's queries.

    Attributes:
        n_queries / n_kept: Queries seen, and those with a scored outcome of every arm.
        n_unscored: Records that nobody judged.
        by_arm: Arm -> queries it has a scored outcome for.
    """

    n_queries: int
    n_kept: int
    n_unscored: int
    by_arm: Mapping[str, int]


@dataclass(slots=True)
class _Seen:
    """First pass: the arms of each query as bits."""

    arms: dict[str, int] = field(default_factory=dict)
    queries: dict[str, int] = field(default_factory=dict)
    n_unscored: int = 0

    def add(self, batch: "pa.RecordBatch") -> None:
        columns: list[list[Any]] = [batch.column(name).to_pylist() for name in _COUNT_COLUMNS]
        query_ids, *arm, scores = columns
        for query_id, name, score in zip(query_ids, _arm_names(arm), scores, strict=True):
            bits = self.queries.setdefault(query_id, 0)
            if score is None:
                self.n_unscored += 1
                continue
            code = self.arms.setdefault(name, len(self.arms))
            self.queries[query_id] = bits | 1 << code

    def coverage(self, n_kept: int) -> Coverage:
        counts = np.zeros(len(self.arms), dtype=np.int64)
        for bits in self.queries.values():
            counts[[code for code in range(len(self.arms)) if bits >> code & 1]] += 1
        by_arm = {name: int(counts[code]) for name, code in self.arms.items()}
        return Coverage(len(self.queries), n_kept, self.n_unscored, by_arm)


def table_from_records(
    stream: RecordStream,
    *,
    name: str | None = None,
    arms: Sequence[str] | None = None,
    prices: Mapping[str, Price] | None = None,
    nominal_output_tokens: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> tuple[OutcomeTable, Coverage]:
    """Read the stream twice: once to see which queries every arm answered, once to keep just those.

    Several records of a query and an arm are samples of one outcome: score, tokens, USD and seconds are their means,
    counts and nano-USD rounded up. Held in memory: the ids of all queries, and the texts and cells of those kept.

    Args:
        arms: Arm names, in the table's order; None takes all, sorted by name.
        prices: Arm name -> price; the cost of such an arm is its tokens times the price, of others the recorded USD.
            Prompt tokens that a source lacks are estimated from the prompt.
        nominal_output_tokens: Arm name -> output tokens where the source has none. With neither these nor a price, an
            unknown count becomes 0.

    Raises:
        RecordError: No query has every arm, an arm is not in the stream, or a cost is unknown.
    """
    seen = _Seen()
    for batch in stream.batches(progress=progress, what="finding queries"):
        seen.add(batch)
    names = list(arms) if arms is not None else sorted(seen.arms)
    kept = _kept(seen, names, stream)
    build = _Build(names, kept, dict(prices or {}), dict(nominal_output_tokens or {}), stream)
    for batch in stream.batches(progress=progress, what="reading outcomes"):
        build.add(batch)
    return build.table(name or stream.path.stem), seen.coverage(len(kept))


def _kept(seen: _Seen, names: Sequence[str], stream: RecordStream) -> dict[str, int]:
    """Row of each query that has every arm, in the order of the source."""
    unknown = [name for name in names if name not in seen.arms]
    if unknown or not names:
        shown = ", ".join(sorted(seen.arms)) or "no scored record"
        raise RecordError(f"no arm {unknown[0]!r} in it; it has {shown}" if names else f"has {shown}", file=stream.path)
    if len(set(names)) < len(names):
        raise RecordError(f"an arm is named twice among {', '.join(names)}", file=stream.path)
    wanted = sum(1 << seen.arms[name] for name in names)
    kept = [query_id for query_id, bits in seen.queries.items() if bits & wanted == wanted]
    if not kept:
        counts = seen.coverage(0).by_arm
        worst = ", ".join(f"{name} ({counts[name]})" for name in sorted(names, key=counts.__getitem__)[:5])
        what = f"no query of {len(seen.queries)} has a scored outcome of every arm; name the arms to compare, without "
        raise RecordError(what + f"those that answered few queries: {worst}", file=stream.path)
    return {query_id: row for row, query_id in enumerate(kept)}


class _Build:
    """Second pass: sums of every cell, divided at the end."""

    def __init__(
        self,
        names: Sequence[str],
        kept: Mapping[str, int],
        prices: Mapping[str, Price],
        nominal: Mapping[str, int],
        stream: RecordStream,
    ) -> None:
        self.names, self.kept, self.prices, self.nominal, self.file = names, kept, prices, nominal, stream.path
        self.column = {name: column for column, name in enumerate(names)}
        shape = (len(kept), len(names))
        self.sums = {each: np.zeros(shape) for each in _SUMS}
        self.nano_usd = np.zeros(shape, dtype=np.int64)
        self.texts: list[tuple[str, str, str]] = [("", "", "")] * len(kept)
        self.at = np.full(len(kept), np.nan)

    def add(self, batch: "pa.RecordBatch") -> None:
        columns: list[list[Any]] = [batch.column(name).to_pylist() for name in _COUNT_COLUMNS[1:5]]
        names = _arm_names(columns)
        for cells, name in zip(batch.to_pylist(), names, strict=True):
            row, column = self.kept.get(cells["query_id"]), self.column.get(name)
            if row is None or column is None or cells["score"] is None:
                continue
            if self.texts[row] == ("", "", ""):
                self.texts[row] = (cells["prompt"] or "", cells["domain"], cells["benchmark"])
                self.at[row] = np.nan if cells["at"] is None else cells["at"]
            self._cell(cells, name, (row, column))

    def _cell(self, cells: Mapping[str, Any], name: str, at: tuple[int, int]) -> None:
        usage = self._usage(cells, name)
        nano_usd = self._nano_usd(cells, name, usage)
        recorded = name not in self.prices
        values = {
            "score": cells["score"],
            "usd": cells["usd"] if recorded else nano_usd / NANO,
            "input": usage.input,
            "output": usage.output,
            "seconds": np.nan if cells["latency_s"] is None else cells["latency_s"],
            "n": 1,
        }
        for each, value in values.items():
            self.sums[each][at] += value
        self.nano_usd[at] += nano_usd

    def _usage(self, cells: Mapping[str, Any], name: str) -> Usage:
        prompt, output = cells["prompt"], cells["output_tokens"]
        counted = cells["input_tokens"]
        tokens = counted if counted is not None else estimate_tokens(prompt) if prompt else 0
        if output is None:
            output = self.nominal.get(name)
        if output is None and name in self.prices:
            raise self._unknown(cells, name, "output_tokens", "give nominal output tokens of this arm")
        return Usage(input=tokens, output=output or 0, cached_input=min(cells["cached_input_tokens"] or 0, tokens))

    def _nano_usd(self, cells: Mapping[str, Any], name: str, usage: Usage) -> int:
        if name in self.prices:
            return cost_nano_usd(usage, self.prices[name])
        if cells["usd"] is None:
            raise self._unknown(cells, name, "usd", "give a price for this arm")
        return round(float(cells["usd"]) * NANO)

    def _unknown(self, cells: Mapping[str, Any], name: str, column: str, do: str) -> RecordError:
        return RecordError(f"query {cells['query_id']!r}, arm {name}: is empty; {do}", file=self.file, column=column)

    def table(self, name: str) -> OutcomeTable:
        n = self.sums["n"]
        counts = {each: np.ceil(self.sums[each] / n).astype(np.int64) for each in ("input", "output")}
        prompts, domains, benchmarks = zip(*self.texts, strict=True)
        return OutcomeTable(
            name=name,
            query_ids=tuple(self.kept),
            prompts=prompts,
            domains=domains,
            arms=tuple(_arm(each) for each in self.names),
            scores=self._mean("score"),
            usd=self._mean("usd"),
            nano_usd=-(-self.nano_usd // n.astype(np.int64)),
            prompt_tokens=counts["input"][:, 0],
            input_tokens=counts["input"],
            completion_tokens=counts["output"],
            seconds=self._mean("seconds"),
            prices=tuple(self.prices.get(each) for each in self.names),
            benchmarks=benchmarks,
            at=self.at,
        )

    def _mean(self, column: str) -> Reals:
        mean: Reals = self.sums[column] / self.sums["n"]
        return mean


def _arm_names(columns: Sequence[Sequence[str]]) -> list[str]:
    """Names of the arms of a batch's model, mode, effort and options columns."""
    known: dict[tuple[str, ...], str] = {}
    return [known.get(each) or known.setdefault(each, arm_of(*each).name) for each in zip(*columns, strict=True)]


def _arm(name: str) -> Arm:
    return arm_of(*arm_fields(name))
