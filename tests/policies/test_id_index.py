"""Ids as numbers: equal ones meet, different ones do not, whatever their lengths and however they lie in memory."""

import numpy as np
import pyarrow as pa
import pytest

from policies.id_index import IdIndex, words_of

IDS = ["chatcmpl-01", "", "a", "chatcmpl-02", "a", "aa", "a" * 40, "a" * 41, "a\0", "ä"]


def test_ids_are_equal_where_their_numbers_are() -> None:
    words = [tuple(each) for each in words_of(pa.array(IDS)).tolist()]
    assert [words.index(each) for each in words] == [IDS.index(each) for each in IDS]


@pytest.mark.parametrize(
    "ids",
    [pa.array(["x", *IDS]).slice(1), pa.chunked_array([IDS[:3], [], IDS[3:]]), pa.array(IDS, pa.large_string())],
    ids=["slice", "chunks", "large"],
)
def test_numbers_depend_on_the_text_alone(ids: pa.Array) -> None:
    assert np.array_equal(words_of(ids), words_of(pa.array(IDS)))
    assert np.array_equal(words_of(pa.array(["a"])), words_of(pa.array(IDS))[2:3])  # alone and among longer ones


def test_an_index_finds_the_first_row_of_each_id() -> None:
    index = IdIndex(words_of(pa.array(IDS)))
    assert index.first_rows.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    asked = pa.array(["a", "b", "chatcmpl-02", None])
    assert index.find(words_of(asked)).tolist() == [2, -1, 3, 1]  # a missing id is an empty one


def test_ids_that_share_one_of_their_numbers_are_told_apart() -> None:
    words = np.array([[7, 3], [7, 1], [7, 3], [7, 2]], dtype=np.uint64)
    index = IdIndex(words)
    assert index.first_rows.tolist() == [0, 1, 3]
    assert index.find(np.array([[7, 2], [7, 3], [7, 4], [8, 1]], dtype=np.uint64)).tolist() == [3, 0, -1, -1]


def test_nothing_is_in_an_empty_index() -> None:
    empty = words_of(pa.array([], pa.string()))
    assert len(IdIndex(empty)) == 0
    assert IdIndex(empty).find(words_of(pa.array(["a"]))).tolist() == [-1]


def test_a_hundred_thousand_ids_have_as_many_numbers() -> None:
    ids = pa.array([f"dec-{i:026d}" for i in range(100_000)])
    words = words_of(ids)
    for column in words.T:  # each number alone would do
        assert len(np.unique(column)) == len(ids)
    assert np.array_equal(IdIndex(words).find(words), np.arange(len(ids)))
