"""What of a delta or a message counts as generated: every text, whatever its member is called, and each once."""

from typing import Any

import pytest

from router.http.generated import Generated

TEXT = "x" * 4000
TOOL = {"id": "c", "type": "function", "function": {"name": "", "arguments": TEXT}}


def tokens(message: dict[str, Any]) -> int:
    generated = Generated()
    generated.add(message)
    return generated.token_estimate


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": TEXT},
        {"refusal": TEXT},
        {"reasoning_content": TEXT},
        {"reasoning": TEXT},
        {"reasoning_content": TEXT, "reasoning": TEXT, "reasoning_details": [{"text": TEXT}]},
        {"reasoning": TEXT, "reasoning_details": [{"type": "reasoning.text", "text": TEXT}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": TEXT}], "reasoning": TEXT},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": TEXT}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": TEXT}]}]},
        {"content": [{"type": "text", "text": TEXT}]},
        {"function_call": {"name": "", "arguments": TEXT}},
        {"tool_calls": [TOOL]},
        {"audio": {"id": "a", "data": "A" * 90_000, "transcript": TEXT, "expires_at": 7}},
    ],
)
def test_a_text_counts_once_in_every_shape(message: dict[str, Any]) -> None:
    assert tokens(message) == 1000


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"role": "assistant", "content": ""},
        {"content": None, "tool_calls": None, "function_call": {}},
        {"annotations": [{"type": "url_citation", "url": TEXT}]},
        {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + TEXT}}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": TEXT, "signature": TEXT}]},
        {"tool_calls": ["not a call", {"function": "neither"}]},
        {"content": 7, "other": [1, None, True]},
    ],
)
def test_what_is_no_text_of_the_models_counts_nothing(message: dict[str, Any]) -> None:
    assert tokens(message) == 0


def test_a_text_at_any_depth_is_found_and_a_lone_surrogate_breaks_nothing() -> None:
    deep: Any = "\ud800abc"
    for _ in range(2_000):
        deep = [{"parts": deep}]
    assert tokens({"content": deep}) == 2  # 6 bytes
