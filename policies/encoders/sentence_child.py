"""The process that runs sentence-transformers, so that the serving process never imports torch.

`python -m policies.encoders.sentence_child FOLDER PARENT_PID` answers frames of `wire.py` on stdin and stdout: first
`{"dim": n}` when the model is loaded, then for each `{"texts": [...]}` the vectors, or `{"error": message}`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from policies.encoders.base import Vectors
from policies.encoders.wire import WireClosed, read_frame, write_frame

_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str]) -> int:
    """Load the model and answer until stdin ends."""
    folder, parent_pid = arguments
    _die_with(int(parent_pid))
    answers = os.dup(1)
    os.dup2(2, 1)  # a library that prints must not break a frame
    try:
        encode, dim = _load(folder)
    except Exception as error:  # the process's boundary: the parent reports it
        write_frame(answers, {"error": f"{type(error).__name__}: {error}"})
        return 1
    write_frame(answers, {"dim": dim})
    while True:
        try:
            request, _ = read_frame(0)
        except WireClosed:
            return 0
        _answer(answers, request, encode)


def _answer(answers: int, request: dict[str, Any], encode: Callable[[str], Vectors]) -> None:
    try:
        vectors = np.stack([encode(text) for text in request["texts"]])
    except Exception as error:  # the process's boundary; the type alone, for a message may quote the text
        write_frame(answers, {"error": type(error).__name__})
    else:
        write_frame(answers, {}, vectors)


def _load(folder: str) -> tuple[Callable[[str], Vectors], int]:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)  # the same bits on every machine, and no fight with the gateway for cores
    model = SentenceTransformer(folder, device="cpu", local_files_only=True)

    def encode(text: str) -> Vectors:
        # One text at a time: padding and batched kernels change a row's last bits.
        found = model.encode([text], normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(found[0], np.float32)

    return encode, len(encode("dimension"))


def _die_with(parent_pid: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:  # it ended before the signal was set
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
