"""Fine-tunes MiniLM on outcomes: the dear end of the comparison, minutes to hours on two cores.

One logistic head per arm reads the mean-pooled unit embedding; the loss is the heads' cross-entropy plus one minus the
cosine to the embedding before fine-tuning, which keeps what the outcomes do not speak of. The result is a folder as
sentence-transformers publishes them, from which the encoders ``minilm`` and ``minilm-fp32`` build their graphs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.encoders.bounds import Bounds
from policies.encoders.cache import publish
from policies.encoders.source import ModelSource, find_source
from training.encoder.bags import Floats, Integers, unit
from training.encoder.weights import EncoderFitError

Reals = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
WHAT = "fine-tuning MiniLM"
_SHARPNESS = 8.0
_HEAD_RATE = 1e-2
_COPIED = ("config.json", "tokenizer.json", "1_Pooling/config.json")


@dataclass(frozen=True, slots=True)
class FinetuneSettings:
    """What the fine-tuning depends on besides its data.

    Attributes:
        anchor_weight: Of staying near the embedding before fine-tuning.
        outcome_weight: Of the cross-entropy, summed over arms.
    """

    epochs: int = 2
    batch: int = 32
    learning_rate: float = 5e-5
    anchor_weight: float = 1.0
    outcome_weight: float = 0.5
    warm_up: float = 0.1
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, for a manifest."""
        return asdict(self)


def finetune(
    prompts: Sequence[str],
    scores: Reals,
    anchor: Floats,
    out: Path,
    settings: FinetuneSettings | None = None,
    *,
    source: str | None = None,
    progress: Progress = lambda what, done, of: None,
) -> tuple[float, ...]:
    """Fine-tune, write the folder ``out`` and return the mean loss of each epoch.

    Args:
        scores: Of each arm on each prompt, 0 to 1, shape (n, m).
        anchor: Embeddings of the prompts by the encoder before fine-tuning, shape (n, dim).
        source: A folder or hub id of a BERT encoder with mean pooling; None: the packaged MiniLM.

    Raises:
        EncoderFitError: The shapes do not belong together.
        EncoderUnavailable: The weights are not there.
    """
    settings = settings or FinetuneSettings()
    if not len(prompts) or len(prompts) != len(scores) or len(prompts) != len(anchor):
        sizes = f"{len(prompts)} prompts, {len(scores)} rows of scores and {len(anchor)} embeddings"
        raise EncoderFitError(f"{sizes}; give as many of each")
    found = find_source(source)
    ids = _token_ids(prompts, found)
    tuner = _Tuner(found, scores, unit(anchor), settings)
    losses, done = [], 0
    n_steps = settings.epochs * -(-len(ids) // settings.batch)
    for _ in range(settings.epochs):
        total = 0.0
        for some in _batches(ids, batch=settings.batch, rng=tuner.rng):
            total += len(some) * tuner.step(some, [ids[i] for i in some], share_done=done / n_steps)
            done += 1
            progress(WHAT, done, n_steps)
        losses.append(total / len(ids))
    publish(out, lambda place: _write(place, tuner.model, found))
    return tuple(losses)


def _token_ids(prompts: Sequence[str], source: ModelSource) -> list[Integers]:
    from tokenizers import Tokenizer

    from policies.encoders.words import WordMemory

    tokenizer = Tokenizer.from_file(str(source.tokenizer))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    first, last, bounds = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]"), Bounds()
    words = WordMemory(tokenizer)
    found = (bounds.clip_tokens(words.ids(bounds.clip_text(prompt))) for prompt in prompts)
    return [np.array([first, *each, last], np.int64) for each in found]


def _batches(ids: Sequence[Integers], *, batch: int, rng: np.random.Generator) -> list[Integers]:
    """Rows of similar length together, so that little is padding; the batches in random order."""
    lengths = np.array([len(each) for each in ids]) + rng.random(len(ids))
    order = np.argsort(lengths)
    parts = [order[at : at + batch] for at in range(0, len(order), batch)]
    return [parts[i] for i in rng.permutation(len(parts))]


class _Tuner:
    """The model, its heads and its optimiser."""

    def __init__(self, source: ModelSource, scores: Reals, anchor: Floats, settings: FinetuneSettings) -> None:
        import torch

        self.settings, self.rng = settings, np.random.default_rng(settings.seed)
        self.model = _bert(source)
        self.anchor = torch.from_numpy(anchor)
        means = np.clip(scores.mean(axis=0), 1e-3, 1.0 - 1e-3)
        self.scores = torch.from_numpy(scores.astype(np.float32))
        self.heads = torch.nn.Parameter(torch.zeros(self.model.config.hidden_size, scores.shape[1]))
        self.bias = torch.nn.Parameter(torch.from_numpy(np.log(means / (1.0 - means)).astype(np.float32)))
        groups = [
            {"params": list(self.model.parameters()), "lr": 0.0, "most": settings.learning_rate},
            {"params": [self.heads, self.bias], "lr": 0.0, "most": _HEAD_RATE},
        ]
        self.adam = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)

    def step(self, some: Integers, ids: Sequence[Integers], *, share_done: float) -> float:
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        settings, at = self.settings, torch.from_numpy(some)
        given = embed(self.model, ids)
        logits = _SHARPNESS * given @ self.heads + self.bias
        outcomes = binary_cross_entropy_with_logits(logits, self.scores[at])
        loss = settings.outcome_weight * self.scores.shape[1] * outcomes
        loss = loss + settings.anchor_weight * (1.0 - (given * self.anchor[at]).sum(dim=1).mean())
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        rate = min(share_done / max(settings.warm_up, 1e-9), (1.0 - share_done) / (1.0 - settings.warm_up))
        for group in self.adam.param_groups:
            group["lr"] = group["most"] * max(rate, 0.01)
        self.adam.step()
        return float(loss.detach())


def _bert(source: ModelSource) -> Any:
    """The model with dropout off: it would draw from torch's own generator, and a few epochs need none."""
    import torch
    from safetensors.numpy import load_file
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(**source.config()), add_pooling_layer=False)
    found = load_file(source.weights)
    wanted = {name: torch.from_numpy(found[name]) for name in model.state_dict() if name in found}
    model.load_state_dict(wanted, strict=True)
    return model.eval()


def embed(model: Any, ids: Sequence[Integers]) -> Any:
    """Mean of the tokens' last states, unit length; in bfloat16 where the processor multiplies it."""
    import torch

    longest = max(map(len, ids))
    tokens, mask = np.zeros((len(ids), longest), np.int64), np.zeros((len(ids), longest), np.int64)
    for row, each in enumerate(ids):
        tokens[row, : len(each)], mask[row, : len(each)] = each, 1
    weights = torch.from_numpy(mask).unsqueeze(-1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=_multiplies_bfloat16()):
        states = model(input_ids=torch.from_numpy(tokens), attention_mask=torch.from_numpy(mask)).last_hidden_state
    summed = (states.float() * weights).sum(dim=1) / weights.sum(dim=1)
    return torch.nn.functional.normalize(summed, dim=1)


def _multiplies_bfloat16() -> bool:
    """Whether bfloat16 is several times faster than float32 here; emulated it is fourteen times slower."""
    import torch

    able: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not say
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def _write(place: Path, model: Any, source: ModelSource) -> None:
    from safetensors.numpy import save_file

    tensors = {name: value.detach().float().numpy().copy() for name, value in model.state_dict().items()}
    save_file(tensors, place / "model.safetensors")
    for name in _COPIED:
        if (source.folder / name).is_file():
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_bytes((source.folder / name).read_bytes())
