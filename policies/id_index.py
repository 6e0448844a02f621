"""Ids as 128-bit numbers: millions are told apart, joined and repeated ones found in a few dozen bytes each."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Words = NDArray[np.uint64]
Rows = NDArray[np.int64]

_WORD = 8  # bytes
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)  # odd, their bits well mixed
_SHIFT = np.uint64(29)


def words_of(ids: "pa.ChunkedArray[Any] | pa.Array[Any]") -> Words:
    """Two numbers per id, shape (n, 2); a missing id counts as an empty one.

    Ids are the gateway's own: that two of 10⁷ share both numbers by chance is rarer than 1 in 10²³.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    whole: Any = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    text = pc.fill_null(whole.cast(pa.large_string()), "")
    n = len(text)
    if n == 0:
        return np.zeros((0, 2), dtype=np.uint64)
    _, offset_bytes, data = text.buffers()
    offsets = np.frombuffer(offset_bytes, dtype=np.int64)[text.offset : text.offset + n + 1]
    letters = np.frombuffer(data or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
    return _mixed(_padded(letters, np.diff(offsets)), np.diff(offsets))


def _padded(letters: NDArray[np.uint8], lengths: Rows) -> Words:
    """Every id's bytes in a row of whole words, shape (n, n_words)."""
    width = max(-(-int(lengths.max()) // _WORD), 1) * _WORD
    rows = np.zeros((len(lengths), width), dtype=np.uint8)
    if (lengths == lengths[0]).all():
        rows[:, : lengths[0]] = letters.reshape(len(lengths), -1)
    else:
        rows[np.arange(width) < lengths[:, None]] = letters
    return rows.view(np.uint64)


def _mixed(rows: Words, lengths: Rows) -> Words:
    found = np.empty((len(rows), 2), dtype=np.uint64)
    for place, factor in enumerate(np.array(_FACTORS, dtype=np.uint64)):
        state = lengths.astype(np.uint64) * factor
        for begins, word in zip(range(0, _WORD * rows.shape[1], _WORD), rows.T, strict=True):
            mixed = (state ^ word) * factor  # modulo 2⁶⁴
            mixed ^= mixed >> _SHIFT
            state = np.where(lengths > begins, mixed, state)  # an id's numbers depend on no longer one beside it
        found[:, place] = state * factor
    return found


class IdIndex:
    """Where each id stands first."""

    def __init__(self, words: Words) -> None:
        """Index ``words`` (n, 2), as ``words_of`` gives them."""
        order = np.lexsort((words[:, 1], words[:, 0]))  # stable: equal ids stay in their order
        ordered = words[order]
        new = np.ones(len(order), dtype=np.bool_)
        new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        self._high, self._low = ordered[new, 0], ordered[new, 1]
        self._rows = order[new]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def first_rows(self) -> Rows:
        """Rows that repeat no earlier one, ascending, shape (n_ids,)."""
        return np.sort(self._rows)

    def find(self, words: Words) -> Rows:
        """The first row of each id, −1 where the index lacks it, shape (n,)."""
        found = np.full(len(words), -1, dtype=np.int64)
        at = np.searchsorted(self._high, words[:, 0])
        asked = np.arange(len(words))
        while len(asked):  # more than once only where different ids share their first number
            inside = at < len(self._high)
            at, asked = at[inside], asked[inside]
            same = self._high[at] == words[asked, 0]
            at, asked = at[same], asked[same]
            hit = self._low[at] == words[asked, 1]
            found[asked[hit]] = self._rows[at[hit]]
            at, asked = at[~hit] + 1, asked[~hit]
        return found
