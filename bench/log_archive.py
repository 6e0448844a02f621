"""Writes drawn rounds as a gateway archives them: partitions of stream entries with every column of the schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.log_world import ARMS, DIM, KINDS, Drawn, Integers, World, draw
from policies.archive_schema import schema
from policies.features import FEATURE_NAMES

BATCH_ROWS = 8192  # stream entries of all kinds, as the gateway takes them
ORGANISATIONS = {7: "acme", 23: "globex", 41: "initech"}  # by shard
_START = 1_780_000_000.0
_CRASHES = 50  # one batch in so many was begun before, by a pass that crashed: its rows are there twice
_LETTERS = np.frombuffer(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", dtype=np.uint8)
_M = len(ARMS)


def write_log(folder: Path, n_rounds: int, *, encoder_id: str, seed: int = 0, batch_rows: int = BATCH_ROWS) -> Path:
    """A data directory of ``n_rounds`` requests in three shards."""
    rng = np.random.default_rng(seed)
    world = World.draw(rng)
    for place, (shard, organisation) in enumerate(ORGANISATIONS.items()):
        n = (n_rounds + place) // len(ORGANISATIONS)
        if n:
            drawn = draw(world, n, start=_START, rng=rng)
            _Shard(folder, shard, organisation, encoder_id, world, drawn, rng, batch_rows).write()
    return folder


@dataclass(slots=True)
class _Shard:
    folder: Path
    shard: int
    organisation: str
    encoder_id: str
    world: World
    drawn: Drawn
    rng: np.random.Generator
    batch_rows: int

    def write(self) -> None:
        n = len(self.drawn)
        requests, decisions = self._ids("chatcmpl-", n), self._ids("dec-", n)
        own = {"request_id": requests, "decision_id": decisions.take(_array(self.drawn.turn_of))}
        ids = {"decisions": own, "outcomes": own, "feedback": own | {"feedback_id": self._ids("fb-", n)}}
        for kind, name, rows, at, stream in self._batches():
            columns = getattr(self, f"_{kind}")(rows) | {
                each: known.take(_array(rows)) for each, known in ids[kind].items()
            }
            table = self._table(kind, columns | {"stream_id": stream, "at": at}, len(rows))
            place = self.folder / "archive" / kind / f"shard={self.shard:02d}"
            place.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, place / f"{name}.parquet", compression="zstd")

    def _batches(self) -> Iterator[tuple[str, str, Integers, NDArray[np.float64], Any]]:
        """Kind, file name, rounds, times and stream ids of every partition."""
        times = {"decisions": self.drawn.at, "outcomes": self.drawn.ended_at, "feedback": self.drawn.judged_at}
        at = np.concatenate(list(times.values()))
        order = np.argsort(at, kind="stable")[: int((~np.isnan(at)).sum())]  # NaN is last
        at, kind, row = at[order], order // len(self.drawn), order % len(self.drawn)
        ms = (at * 1000).astype(np.int64)
        sequence = np.arange(len(ms)) - np.searchsorted(ms, ms)
        for batch, first in enumerate(range(0, len(at), self.batch_rows)):
            last = min(first + self.batch_rows, len(at))
            for end in ((first + last) // 2, last) if batch % _CRASHES == _CRASHES - 1 else (last,):
                name = f"{ms[first]}-{sequence[first]}-{ms[end - 1]}-{sequence[end - 1]}"
                for code, each in enumerate(times):
                    mine = first + np.flatnonzero(kind[first:end] == code)
                    stream = pa.array([f"{a}-{b}" for a, b in zip(ms[mine], sequence[mine], strict=True)], pa.string())
                    if len(mine):
                        yield each, name, row[mine], at[mine], stream

    def _ids(self, prefix: str, n: int) -> Any:
        text = np.empty((n, len(prefix) + 26), dtype=np.uint8)
        text[:, : len(prefix)] = np.frombuffer(prefix.encode(), dtype=np.uint8)
        text[:, len(prefix) :] = _LETTERS[self.rng.integers(0, 32, size=(n, 26), dtype=np.uint8)]
        offsets = np.arange(n + 1, dtype=np.int32) * text.shape[1]
        return pa.StringArray.from_buffers(n, pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes()))

    def _table(self, kind: str, columns: dict[str, Any], n: int) -> pa.Table:
        whole = {"organisation": self.organisation, "v": 1} | columns
        arrays = [_column(whole.get(each.name), each.type, n) for each in schema(kind)]
        return pa.Table.from_arrays(arrays, schema=schema(kind))

    def _decisions(self, rows: Integers) -> dict[str, Any]:
        drawn, n = self.drawn, len(rows)
        kind = drawn.kind[rows]
        embedded = np.isin(kind, (KINDS.index("drawn"), KINDS.index("single")))
        vectors = self.world.embeddings(drawn.topic[rows], drawn.hardness[rows], self.rng)
        offsets = np.concatenate([[0], np.cumsum(embedded * (2 * DIM))]).astype(np.int32)
        binary = pa.Array.from_buffers(
            pa.binary(),
            n,
            [_bits(embedded), pa.py_buffer(offsets.tobytes()), pa.py_buffer(vectors[embedded].tobytes())],
        )
        features = self.rng.standard_normal((n, len(FEATURE_NAMES)), dtype=np.float32)
        features[:, 0] += drawn.hardness[rows]
        known = self.rng.random((n, _M))
        return {
            "tenant": _names(("web", "batch"), (drawn.topic[rows] % 4 == 0).astype(np.int64)),
            "key_id": "key-1", "session": _names([f"s{i}" for i in range(97)], rows % 97), "turn": 1,
            "kind": _names(KINDS, kind), "requested_model": "auto", "arm": _names(ARMS, drawn.action[rows]),
            "arms": _lists(np.tile(np.array(ARMS), (n, 1))), "propensities": _lists(drawn.chances[rows]),
            "quality": _lists(known), "quality_sd": _lists(0.1 * known), "usd": _lists(0.001 * known),
            "seconds": _lists(known), "revisions": _lists(np.tile(np.array(["0123456789ab"] * _M), (n, 1))),
            "removed": [[]] * n, "trade_off": self._trade_off(rows), "explore": 0.1,
            "policy": "default@1", "config": "0123456789ab", "encoder_id": self.encoder_id, "far": False,
            "state": "live", "stream": True, "prompt_tokens": drawn.prompt_tokens[rows],
            "features": _lists(features.astype(np.float64)), "embedding_dim": np.where(embedded, DIM, 0),
            "tags": [[]] * n, "redraws": "[]", "embedding": binary,
        }  # fmt: skip

    def _trade_off(self, rows: Integers) -> Any:
        """20 quality per USD for one tenant; paced, hence another for each request, for the other."""
        terms = np.zeros((len(rows), 4))
        terms[:, 0] = np.where(self.drawn.topic[rows] % 4 == 0, 20.0 * self.rng.uniform(1.0, 3.0, len(rows)), 20.0)
        unknown = np.zeros(terms.shape, dtype=np.bool_)
        unknown[:, 3] = True
        offsets = np.arange(len(rows) + 1, dtype=np.int32) * 4
        return pa.ListArray.from_arrays(_array(offsets), _array(terms.ravel(), mask=unknown.ravel()))

    def _outcomes(self, rows: Integers) -> dict[str, Any]:
        drawn, n = self.drawn, len(rows)
        return {
            "tenant": _names(("web", "batch"), (drawn.topic[rows] % 4 == 0).astype(np.int64)),
            "status": _names(("ok", "error"), drawn.failed[rows].astype(np.int64)),
            "http_status": np.where(drawn.failed[rows], 502, 200), "served_arm": _names(ARMS, drawn.action[rows]),
            "upstream_model": "m", "input_tokens": drawn.prompt_tokens[rows],
            "output_tokens": drawn.output_tokens[rows], "cached_input_tokens": 0, "cache_write_tokens": 0,
            "reasoning_tokens": 0, "usage_source": "upstream", "usage_flags": [[]] * n,
            "nano_usd": drawn.nano_usd[rows], "seconds": drawn.seconds[rows], "ttft_s": 0.3, "overhead_s": 0.0005,
            "finish_reasons": [["stop"]] * n, "tool_calls": 0,
            "attempts": _names(
                [
                    f'[{{"deployment":"d","arm":"{arm}","revision":"0123456789ab","kind":"ok","status":200,"seconds":1}}]'
                    for arm in ARMS
                ],
                drawn.action[rows],
            ),
        }  # fmt: skip

    def _feedback(self, rows: Integers) -> dict[str, Any]:
        score = self.drawn.quality[rows]
        return {"tenant": "web", "metric": "score", "value": score, "source": "client", "tags": [[]] * len(rows)}


def _column(value: Any, kind: pa.DataType, n: int) -> Any:
    if value is None or isinstance(value, str | float | int):
        scalar: Any = pa.scalar(value, kind)
        return pa.repeat(scalar, n)
    return value.cast(kind) if isinstance(value, pa.Array) else pa.array(value, kind)


def _names(names: Any, codes: Integers) -> Any:
    return pa.array(list(names), pa.string()).take(_array(codes))


def _lists(values: NDArray[Any]) -> Any:
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(_array(offsets), _array(values.ravel()))


def _bits(mask: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(mask, bitorder="little").tobytes())


def _array(values: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> Any:
    """As an Arrow array: pyarrow's stubs take every array for one of booleans."""
    return pa.array(values, mask=mask)
