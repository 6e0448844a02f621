"""``gearshift train anchors``: the few prompts a new arm should answer first, and the arm taken in by its answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from policies.arms import Arm
    from policies.prices import Price

DATA = typer.Option(help="Directory with one folder of Parquet files per outcome set.")
ARTIFACT = typer.Option(help="Artifact to take the arm into; with --outcomes.")
DESCRIPTORS = typer.Option(help="YAML or JSON with facts of models: prices, size, scores.")


def anchors(
    out: Annotated[Path, typer.Option(help="Folder for the anchors; with --outcomes, for the new artifact.")],
    data: Annotated[Path | None, DATA] = None,
    pools: Annotated[Path | None, typer.Option(help="JSON file that names pools of arms with prices.")] = None,
    pool: Annotated[str | None, typer.Option(help="Pool to draw anchors from.")] = None,
    number: Annotated[int, typer.Option("--number", "-k", min=10, max=2000, help="How many anchors.")] = 100,
    check: Annotated[str | None, typer.Option(help="Grader of all anchors; else each reference picks one.")] = None,
    run: Annotated[bool, typer.Option("--run", help="Ask the arm at once, through a gateway.")] = False,
    base_url: Annotated[str, typer.Option(envvar="GEARSHIFT_URL")] = "http://127.0.0.1:4000/v1",
    max_usd: Annotated[float, typer.Option(min=0.0, help="Most that --run may cost.")] = 5.0,
    judge: Annotated[str | None, typer.Option(help="Arm that grades where the check is judge.")] = None,
    arm: Annotated[str | None, typer.Option(help="The new arm: model/mode[:effort].")] = None,
    outcomes: Annotated[Path | None, typer.Option(help="The arm's outcomes: a folder of collect, or JSONL.")] = None,
    anchors_dir: Annotated[Path | None, typer.Option("--anchors", help="Folder the anchors were written to.")] = None,
    artifact: Annotated[Path | None, ARTIFACT] = None,
    usd_in: Annotated[float | None, typer.Option(min=0.0, help="USD per million prompt tokens.")] = None,
    usd_out: Annotated[float | None, typer.Option(min=0.0, help="USD per million output tokens.")] = None,
    descriptors: Annotated[Path | None, DESCRIPTORS] = None,
    encoder: Annotated[str, typer.Option(help="Encoder of the gateway that will serve.")] = "minilm",
    source: Annotated[str | None, typer.Option(help="Weights of the encoder: folder or hub id.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Choose the prompts a new arm should answer first; with --outcomes, let it join an artifact by its answers."""
    from policies.encoders.base import EncoderError
    from policies.errors import PolicyError
    from policies.pools import PoolError
    from training.anchors.exam import AnchorError
    from training.collect.errors import CollectError

    try:
        if outcomes is None:
            table = _needed(data=data, pools=pools, pool=pool)
            asked = _needed(arm=arm) if run else {}
            result = _choose(out, table, number=number, check=check, seed=seed, encoder=(encoder, source))
            if asked:
                _ask(out, arm=asked["arm"], base_url=base_url, max_usd=max_usd, judge=judge, seen=result)
        else:
            given = _needed(arm=arm, anchors=anchors_dir, artifact=artifact)
            usd, opened = (usd_in, usd_out), (encoder, source)
            result = _adopt(outcomes, out, given, usd=usd, descriptors=descriptors, encoder=opened)
    except (AnchorError, CollectError, EncoderError, PolicyError, PoolError) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from problem
    _show(result, as_json=as_json)


def _needed(**options: Any) -> dict[str, Any]:
    missing = [f"--{name}" for name, value in options.items() if value is None]
    if missing:
        raise typer.BadParameter(f"{', '.join(missing)} must be given with these options")
    return options


def _choose(
    out: Path, table: dict[str, Any], *, number: int, check: str | None, seed: int, encoder: tuple[str, str | None]
) -> dict[str, Any]:
    from policies.encoders.load import load_encoder
    from training.anchors.task import PLAN, PROMPTS, ChooseAnchors, choose_anchors
    from training.commands.progress import progress_bars

    task = ChooseAnchors(table["data"], table["pools"], table["pool"], out, k=number, check=check, seed=seed)
    with progress_bars() as tell:
        exam = choose_anchors(task, encoder=load_encoder(encoder[0], source=encoder[1]), progress=tell)
    follow = f"gearshift collect --prompts {out / PROMPTS} --out {out / 'outcomes'} --arms ARM --max-usd USD"
    return {"anchors": len(exam), "prompts": str(out / PROMPTS), "plan": str(out / PLAN), "next": follow}


def _ask(out: Path, *, arm: str, base_url: str, max_usd: float, judge: str | None, seen: dict[str, Any]) -> None:
    """Collect the arm's answers to the anchors, with ``gearshift collect`` itself."""
    from training.commands.collect import command

    folder = out / "outcomes"
    command(prompts=Path(seen["prompts"]), out=folder, max_usd=max_usd, base_url=base_url, arms=arm, judge=judge)
    seen["outcomes"] = str(folder)
    seen["next"] = f"gearshift train anchors --anchors {out} --outcomes {folder} --arm {arm} --artifact DIR --out DIR"


def _adopt(
    outcomes: Path,
    out: Path,
    given: dict[str, Any],
    *,
    usd: tuple[float | None, float | None],
    descriptors: Path | None,
    encoder: tuple[str, str | None],
) -> dict[str, Any]:
    from policies.descriptors import load_descriptors
    from policies.encoders.load import load_encoder
    from training.anchors.task import AdoptByAnchors, adopt_by_anchors

    known = {} if descriptors is None else load_descriptors(descriptors)
    arm = _arm(given["arm"])
    task = AdoptByAnchors(given["anchors"], outcomes, given["artifact"], out, arm, _price(*usd), known)
    joined = adopt_by_anchors(task, encoder=load_encoder(encoder[0], source=encoder[1]))
    return {
        "artifact": str(out),
        "arms": [entry["name"] for entry in joined.artifact.arms],
        "adopted": arm.name,
        "by_descriptor": {"quality": joined.by_descriptor.quality, "interval": joined.by_descriptor.interval},
        "by_anchors": {"quality": joined.standing.quality, "interval": joined.standing.interval},
    }


def _arm(text: str) -> "Arm":
    from policies.arms import ArmSyntaxError, parse_arm

    try:
        return parse_arm(text, [text.rpartition("/")[0]])
    except ArmSyntaxError as problem:
        raise typer.BadParameter(str(problem)) from problem


def _price(usd_in: float | None, usd_out: float | None) -> "Price | None":
    from policies.prices import Price, nano_usd_per_mtok

    if usd_in is None or usd_out is None:
        if usd_in is not None or usd_out is not None:
            raise typer.BadParameter("--usd-in and --usd-out must be given together")
        return None
    return Price(nano_usd_per_mtok(usd_in), nano_usd_per_mtok(usd_out))


def _show(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        import orjson

        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
        return
    if "adopted" not in result:
        typer.echo(f"wrote {result['anchors']} anchors to {result['prompts']}; next: {result['next']}")
        return
    for name, words in (("by_descriptor", "by its descriptor"), ("by_anchors", "by its anchors")):
        low, high = result[name]["interval"]
        typer.echo(f"{result['adopted']} {words}: quality {result[name]['quality']:.3f} ({low:.3f} to {high:.3f})")
    typer.echo(f"wrote {result['artifact']} with {len(result['arms'])} arms")
