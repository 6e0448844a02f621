from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from training.embeddings import embed_prompts


def test_a_second_run_embeds_nothing(tmp_path: Path, encoder: Any) -> None:
    prompts, ready = ["a b", "c d", "a b"], []
    first = embed_prompts(encoder, prompts, cache_dir=tmp_path, progress=ready.append)
    assert encoder.n_encoded == 2
    assert sum(ready) >= 2
    second = embed_prompts(encoder, prompts, cache_dir=tmp_path)
    assert encoder.n_encoded == 2
    assert (first == second).all()
    assert (first == encoder.encode(prompts)).all()


def test_a_cache_cut_short_is_embedded_again(tmp_path: Path, encoder: Any) -> None:
    embed_prompts(encoder, ["a"], cache_dir=tmp_path)
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(file.read_bytes()[:50])
    assert embed_prompts(encoder, ["a"], cache_dir=tmp_path).shape == (1, encoder.dim)
    assert encoder.n_encoded == 2


def test_the_cache_holds_no_text(tmp_path: Path, encoder: Any) -> None:
    embed_prompts(encoder, ["SECRETWORD"], cache_dir=tmp_path)
    (file,) = tmp_path.rglob("*.npz")
    assert b"SECRETWORD" not in file.read_bytes()


def test_order_and_vectors_are_those_of_one_thread(tmp_path: Path, encoder: Any) -> None:
    prompts = [f"word{n % 7} and {n}" for n in range(600)]
    assert (embed_prompts(encoder, prompts, cache_dir=tmp_path) == encoder.encode(prompts)).all()


def test_an_encoder_that_fails_ends_it_and_what_was_kept_stays(tmp_path: Path, encoder: Any) -> None:
    asked: list[str] = []

    class Failing(type(encoder)):  # type: ignore[misc] # the fixture's own class
        def encode(self, texts: Sequence[str]) -> Any:
            asked.extend(texts)
            if texts != ["a"]:
                raise RuntimeError("the encoder broke")
            return super().encode(texts)

    with pytest.raises(RuntimeError, match="the encoder broke"):
        embed_prompts(Failing(), ["a", *(f"b {n}" for n in range(5_000))], cache_dir=tmp_path)
    assert len(asked) < 5_000
    assert embed_prompts(encoder, ["a"], cache_dir=tmp_path).shape == (1, encoder.dim)
    assert encoder.n_encoded == 0


def test_no_prompts_are_no_rows(tmp_path: Path, encoder: Any) -> None:
    assert embed_prompts(encoder, [], cache_dir=tmp_path).shape == (0, encoder.dim)
