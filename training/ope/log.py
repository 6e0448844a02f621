"""Rounds out of the gateway's archive: which rows can be evaluated on, and why the others cannot."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.archive_schema import read_log
from policies.prices import NANO
from training.ope.rounds import EvaluationError, Reals, Rounds
from training.records.archive import METRICS, is_archive

if TYPE_CHECKING:
    import pyarrow as pa

FAILED = ("error", "upstream_cut")  # the arm gave no answer: quality 0, whatever it cost
NO_END = (None, "unknown_after_crash")
Progress = Callable[[str, int, int], None]
DRAWN = frozenset({"drawn"})
LABELLED = DRAWN | {"forced", "late", "single"}  # no free draws, but who served and what came of it is known
_SUMMED = ("outcome_nano_usd", "outcome_seconds", "outcome_input_tokens", "outcome_output_tokens")


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


class RoundsSource(Protocol):
    """Anything that can be read as rounds, again and again in the same order."""

    def chunks(self, tally: Tally | None = None, *, progress: Progress | None = None) -> Iterator[Rounds]: ...


@dataclass(frozen=True, slots=True)
class LoggedRounds:
    """A gateway's data directory, read as rounds as often as needed.

    Attributes:
        encoder_id: Only rounds embedded by it.
        until: Only rounds that began before this POSIX time.
        metric: Feedback that is the quality, within 0..1; None takes the first there is of the gateway's own.
        arms: Every arm that was eligible in some round.
        began: POSIX seconds of every drawn decision, in the log's order.
    """

    folder: Path
    encoder_id: str
    metric: str | None
    since: float | None
    until: float
    arms: tuple[str, ...]
    began: Reals = field(repr=False)
    later: Mapping[str, Reals] = field(repr=False)

    def chunks(self, tally: Tally | None = None, *, progress: Progress | None = None) -> Iterator[Rounds]:
        """Rounds with an outcome and a judgement, a partition of the archive at a time."""
        return self._read(tally or Tally(), DRAWN, progress)

    def labels(self, tally: Tally | None = None, *, progress: Progress | None = None) -> Iterator[Rounds]:
        """Likewise what can be learned from: also rounds that were no free draw, ``action`` being the arm that served.

        A round that a fallback answered belongs to the arm that answered.
        """
        return self._read(tally or Tally(), LABELLED, progress)

    def _read(self, told: Tally, kinds: frozenset[str], progress: Progress | None) -> Iterator[Rounds]:
        for whole in read_log(self.folder, since=self.since):
            table = whole.filter(whole["at"].to_numpy() < self.until) if self.until < np.inf else whole
            told.n_rows += table.num_rows
            if table.num_rows:
                told.newest_at = max(told.newest_at or 0.0, float(table["at"].to_numpy().max()))
            rounds = self._rounds(table, told, kinds)
            told.n_rounds += 0 if rounds is None else len(rounds)
            if progress is not None:
                progress("reading rounds", told.n_rows, told.n_rows)
            if rounds is not None:
                yield rounds

    def _rounds(self, table: "pa.Table", tally: Tally, kinds: frozenset[str]) -> Rounds | None:
        quality = self._quality(table)
        reasons = self._reasons(table, quality, kinds)
        kept = np.flatnonzero(reasons == "")
        tally.excluded.update(Counter(reasons[reasons != ""].tolist()))
        if not len(kept):
            return None
        acted = "arm" if kinds == DRAWN else "outcome_served_arm"
        return self._columns(table.take(kept), quality[kept], acted)

    def _reasons(self, table: "pa.Table", quality: Reals, kinds: frozenset[str]) -> NDArray[np.object_]:
        """Why each row is no round; empty for those that are."""
        names = ("kind", "outcome_status", "encoder_id", "embedding_dim", "outcome_served_arm")
        columns = zip(*(_list(table[name]) for name in names), quality, strict=True)
        reasons = [
            "outcome without decision" if kind is None
            else kind if kind not in kinds
            else "open" if status in NO_END
            else "no embedding" if not dim
            else "another encoder" if encoder != self.encoder_id
            else "no arm served" if kinds != DRAWN and served not in self.arms
            else "unjudged" if np.isnan(value)
            else ""
            for kind, status, encoder, dim, served, value in columns
        ]  # fmt: skip
        return np.array(reasons, dtype=object)

    def _quality(self, table: "pa.Table") -> Reals:
        names = (self.metric,) if self.metric else METRICS
        found = np.full(table.num_rows, np.nan)
        for row, (feedback, status) in enumerate(
            zip(table["feedback"].to_pylist(), table["outcome_status"].to_pylist(), strict=True)
        ):
            given = dict(feedback or ())
            name = next((name for name in names if name in given), None)
            if name is not None:
                found[row] = given[name]
            elif status in FAILED:
                found[row] = 0.0
        if ((found < 0.0) | (found > 1.0)).any():
            raise EvaluationError(
                f"{self.folder / 'archive' / 'feedback'}: metric {self.metric or names[0]!r} has values outside 0..1; "
                "choose another with --metric"
            )
        return found

    def _columns(self, table: "pa.Table", quality: Reals, acted: str) -> Rounds:
        n, m = table.num_rows, len(self.arms)
        eligible, propensities = np.zeros((n, m), dtype=np.bool_), np.zeros((n, m))
        row, column, chance = _flat(table, self.arms)
        eligible[row, column], propensities[row, column] = True, chance
        sums = self._sums(table)
        embeddings = np.frombuffer(b"".join(_list(table["embedding"])), dtype=np.float16)
        trade_off = np.array(table["trade_off"].to_pylist(), dtype=np.float64)
        trade_off[:, 3] = np.where(np.isnan(trade_off[:, 3]), np.inf, trade_off[:, 3])
        return Rounds(
            arms=self.arms,
            embeddings=embeddings.reshape(n, -1).astype(np.float32),
            features=np.array(table["features"].to_pylist(), dtype=np.float32),
            prompt_tokens=table["prompt_tokens"].to_numpy().astype(np.float64),
            propensities=propensities,
            eligible=eligible,
            action=_index(table[acted], self.arms),
            quality=quality,
            usd=sums[:, 0] / NANO,
            seconds=sums[:, 1],
            input_tokens=sums[:, 2],
            output_tokens=sums[:, 3],
            trade_off=trade_off,
            tenant=np.array(table["tenant"].to_pylist(), dtype=np.str_),
            at=table["at"].to_numpy().astype(np.float64),
        )

    def _sums(self, table: "pa.Table") -> Reals:
        """``_SUMMED`` of each decision, those of its later requests included, shape (n, 4)."""
        own = np.stack([table[name].to_numpy().astype(np.float64) for name in _SUMMED], axis=1)
        more = [self.later.get(str(each), _NOTHING) for each in table["decision_id"].to_pylist()]
        return own + np.array(more)


_NOTHING = np.zeros(len(_SUMMED))


def open_rounds(
    folder: Path,
    *,
    encoder_id: str = "",
    metric: str | None = None,
    since: float | None = None,
    until: float = np.inf,
) -> LoggedRounds:
    """Read through the log once: which arms there were, and what later requests of a turn added.

    Args:
        encoder_id: Only rounds embedded by it; empty for the encoder of most of them.

    Raises:
        EvaluationError: It is no gateway's data directory, or holds no drawn decision.
    """
    if not is_archive(folder):
        raise EvaluationError(
            f"{folder}: no archive/decisions there; name a gateway's data directory (store.dir). Of a gateway that has "
            "just started, or was killed, the log is not there yet: run gearshift log archive"
        )
    arms: set[str] = set()
    encoders: Counter[str] = Counter()
    began: list[Reals] = []
    later: dict[str, Reals] = {}
    for table in read_log(folder, since=since):
        kinds = np.array(table["kind"].to_pylist(), dtype=object)
        drawn = table.take(np.flatnonzero(kinds == "drawn"))
        arms.update(_list(_whole(drawn["arms"]).flatten().unique()))
        encoders.update(_list(drawn["encoder_id"]))
        began.append(drawn["at"].to_numpy().astype(np.float64))
        _add_later(table.take(np.flatnonzero(kinds == "sticky")), later)
    if not arms:
        raise EvaluationError(
            f"{folder}: the log holds no drawn decision with two or more arms; nothing to evaluate on"
        )
    wanted = encoder_id or max(sorted(encoders), key=encoders.__getitem__)
    return LoggedRounds(folder, wanted, metric, since, until, tuple(sorted(arms)), np.concatenate(began), later)


def _add_later(sticky: "pa.Table", later: dict[str, Reals]) -> None:
    ended = sticky["outcome_status"].to_pylist()
    added = np.stack([sticky[name].to_numpy().astype(np.float64) for name in _SUMMED], axis=1)
    for row, decision in enumerate(_list(sticky["decision_id"])):
        if ended[row] not in NO_END:
            later[decision] = later.get(decision, _NOTHING) + added[row]


def _flat(table: "pa.Table", arms: tuple[str, ...]) -> tuple[Any, Any, Reals]:
    """Row, column and propensity of every eligible arm."""
    lists, chances = _whole(table["arms"]), _whole(table["propensities"])
    lengths = np.diff(lists.offsets.to_numpy())
    return (
        np.repeat(np.arange(len(lists)), lengths),
        _index(lists.flatten(), arms),
        chances.flatten().to_numpy(zero_copy_only=False),
    )


def _whole(column: Any) -> Any:
    """A column as one array: pyarrow's stubs do not tell lists from others."""
    return column.combine_chunks()


def _list(column: Any) -> list[Any]:
    found: list[Any] = column.to_pylist()
    return found


def _index(names: Any, arms: tuple[str, ...]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.index_in(names, value_set=pa.array(arms)).to_numpy(zero_copy_only=False).astype(np.int64)
