"""`gearshift chat`: talk to a running gateway and see each decision."""

import sys
from typing import Annotated, Any

import typer

from router.commands.live import DEFAULT_URL, Answer, LiveGateway

Messages = list[dict[str, Any]]
# What the decision line shows, in this order: header, how it is introduced.
SHOWN = (
    ("arm", ""),
    ("propensity", "p "),
    ("policy", ""),
    ("fallback-reason", "fallback: "),
    ("overhead-ms", "overhead ms "),
    ("decision-id", ""),
)


def command(
    prompt: Annotated[str | None, typer.Argument(help="One question; without it, a conversation")] = None,
    model: Annotated[str, typer.Option(help="auto, auto:cheap, a model or an arm")] = "auto",
    max_tokens: Annotated[int | None, typer.Option(min=1)] = None,
    base_url: Annotated[str, typer.Option(envvar="GEARSHIFT_URL")] = DEFAULT_URL,
    api_key: Annotated[str | None, typer.Option(envvar="GEARSHIFT_API_KEY", help="A key of your tenant")] = None,
) -> None:
    """Talk to a running gateway: answers on standard output, decisions on standard error."""
    gateway = LiveGateway(base_url, api_key=api_key)
    options: dict[str, Any] = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    if max_tokens:
        options["max_tokens"] = max_tokens
    if prompt is not None:
        say(gateway, [{"role": "user", "content": prompt}], options)
        return
    converse(gateway, options)


def converse(gateway: LiveGateway, options: dict[str, Any]) -> None:
    """Questions from standard input, one a line, until its end; the conversation is sent along."""
    messages: Messages = []
    while True:
        if sys.stdin.isatty():
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            messages.append({"role": "user", "content": line.strip()})
            messages.append({"role": "assistant", "content": say(gateway, messages, options)})


def say(gateway: LiveGateway, messages: Messages, options: dict[str, Any]) -> str:
    """Print the answer as it comes, then the decision; returns the answer's text."""
    parts: list[str] = []
    last: Answer | None = None
    usd: float | None = None
    for last in gateway.stream("/v1/chat/completions", {**options, "messages": messages}):
        for choice in last.body.get("choices") or ():
            text = (choice.get("delta") or {}).get("content") or ""
            parts.append(text)
            sys.stdout.write(text)
            sys.stdout.flush()
        usd = (last.body.get("usage") or {}).get("cost", usd)
    sys.stdout.write("\n")
    sys.stdout.flush()
    if last is not None:
        sys.stderr.write(decision_line(last, usd) + "\n")
    return "".join(parts)


def decision_line(answer: Answer, usd: float | None) -> str:
    """What was chosen and what it cost, in one line, with the id that feedback takes."""
    told = [(words, answer.headers.get(f"x-gearshift-{name}")) for name, words in SHOWN]
    parts = [f"{words}{value}" for words, value in told if value]
    if usd is not None:
        parts.append(f"${usd:.6f}")
    return "  [" + " · ".join([*parts, str(answer.body.get("id", ""))]) + "]"
