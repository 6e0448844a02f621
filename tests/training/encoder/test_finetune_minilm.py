import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="fine-tuning needs torch: pip install 'gearshift[encoder]'")
pytest.importorskip("transformers", reason="fine-tuning needs transformers: pip install 'gearshift[encoder]'")

from policies.encoders.load import build_encoder, load_encoder
from training.encoder.finetune_minilm import FinetuneSettings, embed, finetune
from training.encoder.weights import EncoderFitError

SETTINGS = FinetuneSettings(epochs=4, batch=20, learning_rate=2e-3, anchor_weight=0.1)


@pytest.fixture(scope="module")
def small_bert(language, tmp_path_factory) -> Path:
    """Two layers of 24 numbers, random weights, published as sentence-transformers would."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=54, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=128,
    )  # fmt: skip
    save_file(BertModel(config, add_pooling_layer=False).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "tokenizer.json").write_bytes(language.start.tokenizer_json)
    return folder


def embeddings(source: Path, prompts: tuple[str, ...], cache: Path) -> np.ndarray:
    build_encoder("minilm-fp32", source=str(source), cache_dir=cache)
    return load_encoder("minilm-fp32", source=str(source), cache_dir=cache).encode(prompts)


def test_a_fine_tuned_encoder_is_built_and_tells_arms_apart(language, small_bert: Path, tmp_path: Path) -> None:
    prompts, even = language.prompts[:200], language.topics[:200] % 2 == 0
    scores = np.stack([even, ~even], axis=1).astype(np.float64)
    before = embeddings(small_bert, prompts, tmp_path)
    told: list[int] = []
    losses = finetune(
        prompts, scores, before, tmp_path / "tuned", SETTINGS, source=str(small_bert),
        progress=lambda what, done, of: told.append(done),
    )  # fmt: skip
    after = embeddings(tmp_path / "tuned", prompts, tmp_path)
    assert losses[-1] < losses[0]
    assert told == list(range(1, 41))
    gaps = [each[even].mean(axis=0) - each[~even].mean(axis=0) for each in (before, after)]
    assert np.linalg.norm(gaps[1]) > 2 * np.linalg.norm(gaps[0])


def test_as_many_prompts_as_scores_and_embeddings_are_needed(small_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderFitError, match="2 prompts, 3 rows of scores and 2 embeddings"):
        finetune(("w1", "w2"), np.zeros((3, 2)), np.ones((2, 24), np.float32), tmp_path / "o", source=str(small_bert))
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("able", "dtype"),
    [
        ({}, "float32"),
        ({"avx512_bf16": False}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
    ],
)
def test_the_fast_numbers_are_used_only_where_the_processor_has_them(
    able: dict[str, bool], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    seen: list[str] = []

    def model(input_ids, attention_mask):
        states = torch.nn.functional.linear(torch.ones(*input_ids.shape, 3), torch.eye(3))
        seen.append(str(states.dtype).removeprefix("torch."))
        return SimpleNamespace(last_hidden_state=states)

    found = embed(model, [np.array([1, 2]), np.array([3])])
    assert seen == [dtype]
    assert found.dtype is torch.float32
