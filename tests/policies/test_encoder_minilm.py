"""MiniLM on ONNX Runtime: vectors depend on the text alone, int8 stays near float32, damaged files are refused."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.encoders import minilm
from policies.encoders.base import Encoder, EncoderCorrupt, EncoderMismatch, EncoderUnavailable
from policies.encoders.bounds import Bounds
from policies.encoders.load import load_encoder, prepare_encoder
from policies.encoders.probes import PROBE_TEXTS, check_probes, probe_vectors
from policies.encoders.source import find_source

texts = st.one_of(st.text(max_size=300), st.text(st.characters(codec="utf-8"), max_size=50).map(lambda s: s * 40))


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    prepare_encoder("minilm", cache_dir=folder)
    return folder


@pytest.fixture(scope="module")
def encoder(cache_dir: Path) -> Encoder:
    return load_encoder("minilm", cache_dir=cache_dir)


@settings(max_examples=25, deadline=None)
@given(st.lists(texts, min_size=1, max_size=4))
def test_a_vector_has_the_same_bits_alone_and_in_a_batch(encoder: Encoder, batch: list[str]) -> None:
    together = encoder.encode(batch)
    assert together.dtype == np.float32
    assert together.shape == (len(batch), encoder.dim)
    for row, text in zip(together, batch, strict=True):
        assert row.tobytes() == encoder.encode([text])[0].tobytes()
        assert np.linalg.norm(row) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("text", ["", "\x00", "\ud800 lone surrogate", "🙂" * 5_000, "x" * 2_000_000, "a b " * 400_000])
def test_odd_and_huge_texts_have_unit_vectors(encoder: Encoder, text: str) -> None:
    assert np.linalg.norm(encoder.encode([text])[0]) == pytest.approx(1.0, abs=1e-5)


def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_only_the_ends_of_a_long_text_count(encoder: Encoder) -> None:
    head, tail = "How do I prune a rose bush? " * 60, " Answer in one line." * 80
    one, other = (head + middle * 500 + tail for middle in ("apples ", "quantum chromodynamics "))
    assert encoder.encode([one]).tobytes() == encoder.encode([other]).tobytes()


def test_meaning_decides_nearness(encoder: Encoder) -> None:
    question, near, far = encoder.encode(
        ["How do I sort a list in Python?", "sorting python lists", "The recipe needs two eggs and some flour."]
    )
    assert question @ near > question @ far + 0.3


def test_int8_stays_near_float32(encoder: Encoder, cache_dir: Path) -> None:
    prepare_encoder("minilm-fp32", cache_dir=cache_dir)
    exact = load_encoder("minilm-fp32", cache_dir=cache_dir)
    cosines = (probe_vectors(encoder) * probe_vectors(exact)).sum(axis=1)
    assert cosines.mean() >= 0.99
    assert cosines.min() >= 0.97
    assert exact.encoder_id.startswith("minilm-fp32-")
    assert exact.encoder_id != encoder.encoder_id


def test_threads_share_one_encoder(encoder: Encoder) -> None:
    expected = probe_vectors(encoder).tobytes()
    with ThreadPoolExecutor(4) as pool:
        assert {v.tobytes() for v in pool.map(lambda _: probe_vectors(encoder), range(8))} == {expected}


def test_the_id_follows_weights_bounds_and_rounding(encoder: Encoder, tmp_path: Path) -> None:
    source = find_source(None)
    fewer = replace(minilm.INT8, bounds=replace(Bounds(), tail_tokens=10))
    ids = {recipe.encoder_id(source) for recipe in (minilm.INT8, fewer, replace(minilm.INT8, int8=False))}
    assert encoder.encoder_id in ids
    assert len(ids) == 3
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"other")
    assert minilm.INT8.encoder_id(find_source(str(tmp_path))) not in ids


def test_probes_accept_the_same_encoder_and_refuse_another(encoder: Encoder) -> None:
    vectors = probe_vectors(encoder)
    assert vectors.shape == (len(PROBE_TEXTS), encoder.dim) == (16, 384)
    check_probes(encoder, vectors.astype(np.float16).astype(np.float32))
    with pytest.raises(EncoderMismatch, match="cosine"):
        check_probes(encoder, np.roll(vectors, 1, axis=0))
    with pytest.raises(EncoderMismatch, match="shape"):
        check_probes(encoder, vectors[:, :-1])
    with pytest.raises(EncoderMismatch, match="cosine"):
        check_probes(encoder, np.full_like(vectors, np.nan))


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json", "manifest.json"])
def test_a_damaged_file_is_refused_then_rebuilt(tmp_path: Path, file: str) -> None:
    path = minilm.build(cache_dir=tmp_path) / file
    sound = path.read_bytes()
    path.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(EncoderCorrupt, match=rf"{file}.*run: python -m policies.encoders prepare minilm"):
        load_encoder("minilm", cache_dir=tmp_path)
    prepare_encoder("minilm", cache_dir=tmp_path)
    assert path.read_bytes() == sound
    load_encoder("minilm", cache_dir=tmp_path)


def test_processes_that_prepare_together_leave_one_sound_encoder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "policies.encoders", "prepare", "minilm", "--cache-dir", str(tmp_path)]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    load_encoder("minilm", cache_dir=tmp_path)
    left = {path.name for path in (tmp_path / "encoders").iterdir() if not path.name.endswith(".lock")}
    assert len(left) == 1


def test_an_unprepared_encoder_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match=r"run: python -m policies.encoders prepare minilm"):
        load_encoder("minilm", cache_dir=tmp_path)


def test_sources_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match=r"no model.safetensors, tokenizer.json, config.json"):
        load_encoder("minilm", source=str(tmp_path))
    with pytest.raises(EncoderUnavailable, match="neither a folder nor a hub id"):
        load_encoder("minilm", source="./not-here")
    with pytest.raises(EncoderUnavailable, match="choose one of"):
        load_encoder("word2vec")


def test_serving_imports_neither_torch_nor_the_graph_writer(cache_dir: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from policies.encoders.load import load_encoder, prepare_encoder\n"
        "where = Path(sys.argv[1]); prepare_encoder('minilm', cache_dir=where)\n"
        "load_encoder('minilm', cache_dir=where).encode(['x'])\n"
        "print(sorted({'torch', 'onnx', 'sklearn', 'transformers', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(cache_dir)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
