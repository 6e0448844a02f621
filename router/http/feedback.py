"""The body of `/v1/feedback`: one value of one declared metric, on an answer this gateway gave."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.config.schema import Limits
from router.errors import BadRequest
from router.http.body import decode_object
from router.http.messages import refuse

_ID_NAMES = ("response_id", "request_id", "inference_id", "decision_id")  # inference_id: TensorZero's spelling
_ID_CHARS = 128
_COMMENT_CHARS = 4000
_TAGS = 16
_TAG_CHARS = 512


@dataclass(frozen=True, slots=True)
class FeedbackRequest:
    """One piece of feedback.

    Attributes:
        request_id: Id of the answer it is about (`chatcmpl-…`), or the decision's if only that was named.
        metric: A declared metric.
        value: Inside the metric's range; true and false become 1 and 0.
        comment: Free text, None for none.
        tags: Kept with it.
        source: Who judged, `client` unless said.
    """

    request_id: str
    metric: str
    value: float
    comment: str | None
    tags: dict[str, str]
    source: str


def parse_feedback(raw: bytes, limits: Limits, *, metrics: Mapping[str, tuple[float, float]]) -> FeedbackRequest:
    """Read a feedback body.

    Args:
        metrics: Declared metrics with the least and the greatest value.

    Raises:
        BadRequest: ``param`` names the member, the message says what belongs there.
    """
    body = decode_object(raw, limits)
    metric = _text(body, "metric" if body.get("metric") is not None else "metric_name", chars=_ID_CHARS)
    if metric not in metrics:
        raise BadRequest(
            f"metric: {metric!r} is not declared; use one of {', '.join(metrics)} or add it under feedback:",
            param="metric",
        )
    comment = body.get("comment")
    if comment is not None and (type(comment) is not str or len(comment) > _COMMENT_CHARS):
        refuse("comment", f"a string of at most {_COMMENT_CHARS} characters", comment)
    return FeedbackRequest(
        request_id=_read_id(body),
        metric=metric,
        value=_read_value(body.get("value"), metrics[metric]),
        comment=comment,
        tags=_read_tags(body.get("tags")),
        source="client" if body.get("source") is None else _text(body, "source", chars=_ID_CHARS),
    )


def _text(body: Mapping[str, Any], name: str, *, chars: int) -> str:
    value = body.get(name)
    if type(value) is not str or not 0 < len(value) <= chars:
        refuse(name, f"a string of 1 to {chars} characters", value)
    return value


def _read_id(body: Mapping[str, Any]) -> str:
    for name in _ID_NAMES:
        if body.get(name) is not None:
            return _text(body, name, chars=_ID_CHARS)
    raise BadRequest("response_id: missing; send the id of the answer, chatcmpl-…", param="response_id")


def _read_value(value: Any, bounds: tuple[float, float]) -> float:
    low, high = bounds
    if type(value) not in (bool, int, float):
        refuse("value", f"a number from {low:g} to {high:g}, or true or false", value)
    if not low <= value <= high:
        raise BadRequest(f"value: expected {low:g} to {high:g}, got {value:g}", param="value")
    return float(value)


def _read_tags(tags: Any) -> dict[str, str]:
    if tags is None:
        return {}
    if type(tags) is not dict or len(tags) > _TAGS:
        refuse("tags", f"an object of at most {_TAGS} strings", tags)
    for key, text in tags.items():
        if type(text) is not str or max(len(text), len(key)) > _TAG_CHARS:
            refuse("tags", f"strings of at most {_TAG_CHARS} characters", text)
    return dict(tags)
