"""The progress bars of every long command: what, how far, how fast, how long still; on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A function (what, done, of) that draws bars with rate and time left on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    bars: dict[str, TaskID] = {}
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:

        def tell(what: str, done: int, of: int) -> None:
            bar = bars.setdefault(what, progress.add_task(what, total=of, rate="")) if what not in bars else bars[what]
            speed = progress.tasks[bar].finished_speed or progress.tasks[bar].speed
            progress.update(bar, completed=done, total=of, rate=f"{speed:.0f}/s" if speed else "")

        yield tell
