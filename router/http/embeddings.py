"""The body of `/v1/embeddings` and the two ways its vectors are written."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from router.config.schema import Limits
from router.errors import BadRequest
from router.http.body import decode_object
from router.http.hints import Hints, read_hints
from router.http.messages import refuse
from router.http.parse import check_kinds, read_end_user, read_model

MAX_INPUTS = 2048  # OpenAI's own bound
_MAX_DIMENSIONS = 65_536
_FORMS = "a string, a list of strings, a list of token ids, or a list of such lists"


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """One embeddings request.

    Attributes:
        texts: The inputs as texts, or None when they came as token ids (`tokens`), which only their model can read.
        tokens: The inputs as token ids, or None.
        dimensions: Length the vectors are to have, None for the model's own.
        end_user: `user`, else `safety_identifier`; empty when absent.
    """

    body: dict[str, Any]
    raw: bytes
    model: str
    texts: tuple[str, ...] | None
    tokens: tuple[tuple[int, ...], ...] | None
    encoding_format: Literal["float", "base64"]
    dimensions: int | None
    hints: Hints
    end_user: str


def parse_embeddings(raw: bytes, limits: Limits) -> EmbeddingsRequest:
    """Read an embeddings body.

    Raises:
        BadRequest: ``param`` names the member, the message says what belongs there.
    """
    body = decode_object(raw, limits)
    hints = read_hints(body.pop("gearshift", None))
    check_kinds(body)
    model = read_model(body)
    dimensions = body.get("dimensions")
    if dimensions is not None and (type(dimensions) is not int or not 1 <= dimensions <= _MAX_DIMENSIONS):
        refuse("dimensions", f"an integer from 1 to {_MAX_DIMENSIONS}", dimensions)
    texts, tokens = _read_input(body.get("input"))
    return EmbeddingsRequest(
        body, raw, model, texts, tokens, _read_format(body), dimensions, hints, read_end_user(body)
    )


def _read_format(body: dict[str, Any]) -> Literal["float", "base64"]:
    if (form := body.get("encoding_format")) not in (None, "float", "base64"):
        refuse("encoding_format", "float or base64", form)
    return "base64" if form == "base64" else "float"


def _read_input(given: Any) -> tuple[tuple[str, ...] | None, tuple[tuple[int, ...], ...] | None]:
    if type(given) is str:
        return _texts([given]), None
    if type(given) is not list:
        refuse("input", _FORMS, given)
    if not given:
        raise BadRequest("input: the list is empty; send at least one text", param="input")
    if type(given[0]) is int:
        return None, (_ids("input", given),)
    if len(given) > MAX_INPUTS:
        raise BadRequest(f"input: {len(given)} inputs are more than {MAX_INPUTS}; send several requests", param="input")
    if type(given[0]) is list:
        return None, tuple(_ids(f"input[{index}]", item) for index, item in enumerate(given))
    return _texts(given), None


def _texts(given: list[Any]) -> tuple[str, ...]:
    for index, text in enumerate(given):
        if type(text) is not str:
            refuse(f"input[{index}]", _FORMS, text)
        if not text:
            raise BadRequest(f"input[{index}]: the text is empty; leave it out", param=f"input[{index}]")
    return tuple(given)


def _ids(param: str, given: Any) -> tuple[int, ...]:
    if type(given) is not list or not given:
        refuse(param, "a list of token ids", given)
    if not all(type(token) is int and token >= 0 for token in given):
        raise BadRequest(f"{param}: expected token ids, integers from 0", param=param)
    return tuple(given)


def encode_vector(vector: npt.NDArray[np.floating[Any]], form: Literal["float", "base64"]) -> list[float] | str:
    """A vector as a list of numbers, or as base64 of little-endian float32, which the official client asks for."""
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    numbers: list[float] = vector.tolist()
    return numbers


def embeddings_body(
    vectors: Sequence[npt.NDArray[np.floating[Any]]],
    *,
    model: str,
    form: Literal["float", "base64"],
    prompt_tokens: int,
) -> dict[str, Any]:
    """The answer to an embeddings request that this gateway's encoder gave."""
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": encode_vector(vector, form)}
            for index, vector in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens},
    }
