"""``gearshift report``: a stored benchmark result as a page for people."""

from pathlib import Path
from typing import Annotated

import typer

command = typer.Typer(help="Show a benchmark result as a page.", add_completion=False)


@command.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR|RESULT.json", help="A run's folder, or its result.json.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to; default: beside the result.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown instead.")] = False,
) -> None:
    """Write report.html, which loads nothing from elsewhere, and each picture as PNG from a stored result."""
    from training.commands.progress import progress_bars
    from training.report import ReportError, markdown_tables, read_result, write_report

    try:
        result = read_result(run)
        if markdown:
            typer.echo(markdown_tables(result))
            return
        with progress_bars() as tell:
            files = write_report(result, out or (run if run.is_dir() else run.parent), progress=tell)
    except ReportError as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from problem
    typer.echo(f"wrote {files.html} and {len(files.pictures)} pictures")
