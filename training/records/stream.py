"""Where every source begins: a path in, batches of records out, without holding the file."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from policies.arms import MODES
from training.records import archive, llmrouterbench, sets
from training.records.formats import count_rows, file_formats, format_of
from training.records.record import BATCH_ROWS, OutcomeRecord, RecordError, check_effort, to_batches

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[str, int, int], None]
_SUFFIXES = (".csv", ".jsonl", ".json", ".parquet", ".pkl", ".pickle")
_BESIDE = ("contaminated_prompts.jsonl", "question.jsonl")


@dataclass(frozen=True, slots=True)
class RecordStream:
    """A source of records that can be read any number of times.

    Attributes:
        format: Its format, e.g. ``plain``; one of `formats`.
        total_rows: Rows to come at most, None where counting them would cost as much as reading.
    """

    path: Path
    format: str
    total_rows: int | None
    embeddings: bool
    _read: Callable[[], Iterator[OutcomeRecord]]

    def __iter__(self) -> "Iterator[pa.RecordBatch]":
        return self.batches()

    def records(self) -> Iterator[OutcomeRecord]:
        """One record after the other."""
        return self._read()

    def batches(
        self, *, rows: int = BATCH_ROWS, progress: Progress | None = None, what: str = "records"
    ) -> "Iterator[pa.RecordBatch]":
        """Batches of `record.record_schema`, at most ``rows`` each, read anew at every call.

        Args:
            progress: Told (what, rows done, total) after each batch; with no known total, the rows done stand for it.
        """
        done = 0
        for batch in to_batches(self._read(), rows=rows, embeddings=self.embeddings):
            yield batch
            done += batch.num_rows
            if progress is not None:
                progress(what, done, max(done, self.total_rows or 0))


def formats() -> tuple[str, ...]:
    """Names that ``open_records(format=…)`` takes, besides ``auto``."""
    return ("archive", "set", *file_formats())


def open_records(
    path: Path | str,
    format: str = "auto",  # noqa: A002  # the word people use
    *,
    metric: str | None = None,
    modes: Mapping[str, str] | None = None,
    embeddings: bool = False,
) -> RecordStream:
    """Records of a file, of all files below a folder, of an outcome set or of a gateway's data directory.

    Args:
        format: One of `formats`; ``auto`` looks at what the files hold.
        metric: Feedback metric that is the score, for a gateway's log.
        modes: Model -> ``mode`` or ``mode:effort``, for sources that do not tell them (all foreign ones: instant).
        embeddings: Keep logged embeddings and their encoder's id as two more columns.

    Raises:
        RecordError: There is nothing there, no known format fits, or the files of a folder are of several.
    """
    place = Path(path)
    if format not in ("auto", *formats()):
        raise RecordError(f"no format {format!r}; use auto, {', '.join(formats())}")
    if not place.exists():
        raise RecordError("no such file or folder", file=place)
    name, read, total = _source(place, format, metric)
    known = {model: _mode(mode, model) for model, mode in (modes or {}).items()}
    final = partial(_with_modes, read, known) if known else read
    return RecordStream(place, name, total, embeddings, final)


_Source = tuple[str, Callable[[], Iterator[OutcomeRecord]], int | None]


def _source(place: Path, name: str, metric: str | None) -> _Source:
    if name == "archive" or (name == "auto" and place.is_dir() and archive.is_archive(place)):
        if not archive.is_archive(place):
            raise RecordError("is no gateway's data directory: it has no archive/decisions", file=place)
        return "archive", partial(archive.read_archive, place, metric=metric), None
    if name == "set" or (name == "auto" and place.is_dir() and sets.is_set(place)):
        if not sets.is_set(place):
            raise RecordError(f"is no outcome set: it lacks {sets.QUERIES} or {sets.OUTCOMES}", file=place)
        return "set", partial(sets.read_set, place), count_rows(place / sets.OUTCOMES)
    files = _files(place)
    told, name = name != "auto", format_of(files[0]) if name == "auto" else name
    if name == "llmrouterbench":
        files = llmrouterbench.latest_runs(files)
    return name, partial(_each, files, name, checked=told), _total(files, name)


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    below = (file for file in sorted(place.rglob("*")) if file.suffix.lower() in _SUFFIXES and file.is_file())
    files = [file for file in below if file.name not in _BESIDE and not file.name.startswith(".")]
    if not files:
        raise RecordError(f"holds no file that ends in {', '.join(_SUFFIXES[:4])}, no set and no log", file=place)
    return files


def _each(files: list[Path], name: str, *, checked: bool) -> Iterator[OutcomeRecord]:
    read = file_formats()[name].read
    alike = checked or len(files) == 1 or name == "llmrouterbench"  # its reader sees at once, and looking costs as much
    for file in files:
        if not alike and (found := format_of(file)) != name:
            raise RecordError(f"is of format {found}, {files[0].name} beside it of {name}; read them apart", file=file)
        yield from read(file)


def _total(files: list[Path], name: str) -> int | None:
    counts = [count_rows(file) for file in files] if name not in ("routerbench", "routellm") else [None]
    return None if None in counts else sum(count or 0 for count in counts)


def _mode(text: str, model: str) -> tuple[str, str]:
    mode, _, effort = text.partition(":")
    if mode not in MODES:
        raise RecordError(f"model {model!r}: {mode!r} is none of {', '.join(MODES)}")
    check_effort(effort)
    return mode, effort


def _with_modes(
    read: Callable[[], Iterator[OutcomeRecord]], known: Mapping[str, tuple[str, str]]
) -> Iterator[OutcomeRecord]:
    for record in read():
        mode, effort = known.get(record.model, (record.mode, record.effort))
        yield replace(record, mode=mode, effort=effort)
