"""sentence-transformers in a child process: the same bits in any batch, clear errors when it dies, no torch here."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from policies.encoders import sentence
from policies.encoders.base import EncoderUnavailable
from policies.encoders.load import load_encoder, prepare_encoder
from policies.encoders.probes import PROBE_TEXTS
from policies.encoders.source import find_source
from policies.encoders.wire import WireClosed, WireTimeout, read_frame, write_frame

MISSING = [name for name in ("torch", "sentence_transformers") if importlib.util.find_spec(name) is None]
needs_library = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def encoder() -> Iterator[sentence.SentenceTransformersEncoder]:
    encoder = sentence.load(source=str(find_source(None).folder))
    yield encoder
    encoder.close()


@needs_library
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_vectors_have_the_same_bits_in_any_batch(encoder: sentence.SentenceTransformersEncoder) -> None:
    texts = ["", "hello", "\ud800 odd", "Why is the sky blue? " * 500, "为什么天空是蓝色的"]
    together = encoder.encode(texts)
    assert together.shape == (5, encoder.dim) == (5, 384)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert all(row.tobytes() == encoder.encode([text]).tobytes() for row, text in zip(together, texts, strict=True))
    assert encoder.encode([]).shape == (0, 384)


@needs_library
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_our_float32_graph_is_the_same_model(encoder: sentence.SentenceTransformersEncoder) -> None:
    prepare_encoder("minilm-fp32")
    short = PROBE_TEXTS[:-1]  # the last one is longer than our bounds
    cosines = (load_encoder("minilm-fp32").encode(short) * encoder.encode(short)).sum(axis=1)
    assert cosines.min() > 0.9999


@needs_library
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_killed_child_is_a_clear_error_and_then_replaced(encoder: sentence.SentenceTransformersEncoder) -> None:
    before, pid = encoder.encode(["hello"]), encoder.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(EncoderUnavailable, match=r"ended with status -9; the next text starts another"):
        encoder.encode(["hello"])
    assert encoder.encode(["hello"]).tobytes() == before.tobytes()
    assert encoder.pid not in (None, pid)


@needs_library
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_closing_leaves_no_process(encoder: sentence.SentenceTransformersEncoder) -> None:
    encoder.encode(["hello"])
    pid = encoder.pid
    encoder.close()
    encoder.close()
    assert pid is not None
    assert not psutil.pid_exists(pid)


@needs_library
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_serving_process_never_imports_torch_and_leaves_no_child() -> None:
    script = (
        "import sys; from policies.encoders.load import load_encoder\n"
        "encoder = load_encoder('sentence-transformers'); encoder.encode(['x'])\n"
        "print(encoder.pid, sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    pid, _, imported = done.stdout.strip().partition(" ")
    assert imported == "[]"
    _, alive = psutil.wait_procs([psutil.Process(int(pid))] if psutil.pid_exists(int(pid)) else [], timeout=10)
    assert not alive


@needs_library
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EncoderUnavailable, match="cannot load"):
        sentence.load(source=str(tmp_path))


@needs_library
def test_a_source_that_is_no_model_is_refused() -> None:
    with pytest.raises(EncoderUnavailable, match="neither a folder nor a hub id"):
        sentence.load(source="./not/here")


@needs_library
def test_a_hub_model_is_not_downloaded_while_loading() -> None:
    with pytest.raises(EncoderUnavailable, match=r"prepare sentence-transformers --source"):
        sentence.load(source="nobody/nothing-like-this")


def test_frames_cross_a_pipe_whole() -> None:
    reading, writing = os.pipe()
    vectors = np.random.default_rng(0).normal(size=(40, 900)).astype(np.float32)  # more than a pipe holds
    thread = threading.Thread(target=write_frame, args=(writing, {"a": "é"}, vectors))
    thread.start()
    header, received = read_frame(reading, within_s=10)
    thread.join()
    assert header["a"] == "é"
    assert received is not None
    assert received.tobytes() == vectors.tobytes()
    os.close(reading)
    os.close(writing)


def test_half_a_frame_is_no_frame() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"\x10\x00\x00\x00{")
    with pytest.raises(WireTimeout):
        read_frame(reading, within_s=0.0)
    os.close(writing)
    with pytest.raises(WireClosed):
        read_frame(reading, within_s=10)
    os.close(reading)
