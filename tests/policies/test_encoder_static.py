"""The static encoder: exact sums, sound folders, and a distillation that keeps words of one meaning together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from policies.encoders.base import Encoder, EncoderCorrupt, EncoderUnavailable
from policies.encoders.distil import principal_components, zipf_weights
from policies.encoders.load import load_encoder, prepare_encoder
from policies.encoders.source import find_source
from policies.encoders.static import save_static

TOKENIZER = find_source(None).tokenizer.read_bytes()
VOCABULARY = Tokenizer.from_str(TOKENIZER.decode()).get_vocab()


def random_table(width: int = 8) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(len(VOCABULARY), width)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static") / "encoder"
    save_static(folder, random_table(), tokenizer_json=TOKENIZER)
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return load_encoder("static", source=str(folder))


def test_a_vector_is_the_normalised_sum_of_its_tokens(encoder: Encoder) -> None:
    table = random_table()
    total = table[VOCABULARY["hello"]] + table[VOCABULARY["world"]]
    assert encoder.encode(["Hello world"])[0] == pytest.approx(total / np.linalg.norm(total), abs=1e-6)


def test_a_linear_map_is_applied_to_the_sum(tmp_path: Path) -> None:
    table, to_three = random_table(), np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)
    save_static(tmp_path / "e", table, tokenizer_json=TOKENIZER, map_to_dim=to_three)
    mapped = load_encoder("static", source=str(tmp_path / "e"))
    expected = table[VOCABULARY["hello"]] @ to_three
    assert mapped.dim == 3
    assert mapped.encode(["hello"])[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=5))
def test_a_vector_has_the_same_bits_alone_and_in_a_batch(encoder: Encoder, batch: list[str]) -> None:
    together = encoder.encode(batch)
    assert together.shape == (len(batch), encoder.dim)
    for row, text in zip(together, batch, strict=True):
        assert row.tobytes() == encoder.encode([text])[0].tobytes()
        assert np.linalg.norm(row) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("text", ["", " \n", "\x00", "\ud800", "x" * 1_000_000, "a b " * 250_000])
def test_odd_and_huge_texts_have_unit_vectors(encoder: Encoder, text: str) -> None:
    assert np.linalg.norm(encoder.encode([text])[0]) == pytest.approx(1.0, abs=1e-5)


def test_float16_tables_are_read(tmp_path: Path, encoder: Encoder) -> None:
    save_static(tmp_path / "e", random_table().astype(np.float16), tokenizer_json=TOKENIZER)
    half = load_encoder("static", source=str(tmp_path / "e"))
    assert half.encode(["some text"])[0] == pytest.approx(encoder.encode(["some text"])[0], abs=2e-3)


def test_the_id_follows_the_content(tmp_path: Path) -> None:
    first = save_static(tmp_path / "a", random_table(), tokenizer_json=TOKENIZER)
    again = save_static(tmp_path / "b", random_table(), tokenizer_json=TOKENIZER)
    other = save_static(tmp_path / "a", random_table() + 1, tokenizer_json=TOKENIZER)
    assert first == again
    assert other != first
    assert load_encoder("static", source=str(tmp_path / "a")).encoder_id == other


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    table = random_table()
    table[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        save_static(tmp_path / "e", table, tokenizer_json=TOKENIZER)
    with pytest.raises(ValueError, match="does not fit"):
        save_static(tmp_path / "e", random_table(), tokenizer_json=TOKENIZER, map_to_dim=np.eye(5, dtype=np.float32))
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize("file", ["table.safetensors", "tokenizer.json"])
def test_a_damaged_file_is_refused(tmp_path: Path, file: str) -> None:
    save_static(tmp_path / "e", random_table(), tokenizer_json=TOKENIZER)
    with (tmp_path / "e" / file).open("r+b") as damaged:
        damaged.seek(-1, 2)
        damaged.write(b"\x01")
    with pytest.raises(EncoderCorrupt, match=f"{file} differs from its manifest"):
        load_encoder("static", source=str(tmp_path / "e"))
    with pytest.raises(EncoderUnavailable, match="was not prepared"):  # a trained table is never distilled over
        prepare_encoder("static", source=str(tmp_path / "e"))


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    save_static(tmp_path / "e", random_table(), tokenizer_json=TOKENIZER)
    manifest = tmp_path / "e" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(EncoderUnavailable, match="has format 99"):
        load_encoder("static", source=str(tmp_path / "e"))


def test_a_table_too_small_for_its_tokenizer_is_refused(tmp_path: Path) -> None:
    save_static(tmp_path / "e", random_table()[:100], tokenizer_json=TOKENIZER)
    with pytest.raises(EncoderCorrupt, match="100 vectors for 30522 tokens"):
        load_encoder("static", source=str(tmp_path / "e"))


def test_an_unprepared_encoder_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match=r"run: python -m policies.encoders prepare static"):
        load_encoder("static", cache_dir=tmp_path)


def test_zipf_weights_rise_with_the_rank_towards_one() -> None:
    weights = zipf_weights(30_000)
    assert (np.diff(weights) > 0).all()
    assert weights[0] == pytest.approx(1e-4 / (1e-4 + 0.5 / (1 / np.arange(2, 30_002)).sum()), rel=1e-5)


def test_principal_components_keep_the_distances_of_points_in_a_plane() -> None:
    rng = np.random.default_rng(0)
    plane = (rng.normal(size=(50, 2)) @ rng.normal(size=(2, 9)) + 5).astype(np.float32)
    flat = principal_components(plane, 2)
    assert flat.shape == (50, 2)
    assert flat.var(axis=0)[0] > flat.var(axis=0)[1]
    assert np.linalg.norm(flat[0] - flat[1:], axis=1) == pytest.approx(
        np.linalg.norm(plane[0] - plane[1:], axis=1), rel=1e-4
    )


@pytest.mark.slow
def test_the_distilled_encoder_knows_what_words_mean(tmp_path_factory: pytest.TempPathFactory) -> None:
    prepare_encoder("static")  # in the user's cache: it takes up to a minute, once
    encoder = load_encoder("static")
    question, near, far = encoder.encode(
        ["How do I sort a list in Python?", "ordering python lists", "The recipe needs two eggs and some flour."]
    )
    assert encoder.dim == 256
    assert question @ near > question @ far + 0.3
