"""`gearshift feedback`: say how good an answer was."""

import json
import sys
from typing import Annotated, Any

import typer

from router.commands.live import DEFAULT_URL, LiveGateway


def command(
    request_id: Annotated[str, typer.Argument(help="Id of the answer, chatcmpl-…, or of the decision")],
    value: Annotated[float, typer.Option(help="Inside the metric's declared range")],
    metric: Annotated[str, typer.Option(help="A metric the gateway declares")] = "score",
    comment: Annotated[str | None, typer.Option(help="Free text kept with it")] = None,
    base_url: Annotated[str, typer.Option(envvar="GEARSHIFT_URL")] = DEFAULT_URL,
    api_key: Annotated[str | None, typer.Option(envvar="GEARSHIFT_API_KEY", help="A key of your tenant")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the gateway's answer")] = False,
) -> None:
    """Say how good an answer was; policies learn from it."""
    body: dict[str, Any] = {"response_id": request_id, "metric": metric, "value": value}
    if comment:
        body["comment"] = comment
    answer = LiveGateway(base_url, api_key=api_key).post("/v1/feedback", body).body
    sys.stdout.write(json.dumps(answer) + "\n" if as_json else f"recorded {metric} = {value:g} for {request_id}\n")
