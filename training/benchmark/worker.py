"""A worker process of the benchmark: jobs come as lines of JSON on stdin, progress and results go as such to stdout."""

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Thread
from time import sleep
from typing import IO, Any

import orjson

from policies.encoders.base import EncoderUnavailable, Vectors
from training.benchmark.desk import Desk, Progress
from training.benchmark.seeing import FittedInside, ReadyEncoder, Seeing
from training.benchmark.splits import BenchmarkError
from training.benchmark.task import Benchmark, fitted_encoders, job_from, task_from
from training.contenders.registry import make_contenders
from training.perturb import perturbations

_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class KeptVectors:
    """An encoder whose texts were all embedded before: it names the vectors and encodes nothing."""

    encoder_id: str
    name: str
    dim: int

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Never: a worker has no weights.

        Raises:
            EncoderUnavailable: Always.
        """
        raise EncoderUnavailable(f"{self.encoder_id}: {len(texts)} texts are not in the cache; run the benchmark again")


def main(jobs: IO[bytes], answers: IO[bytes]) -> None:
    """Do every job that comes until there are no more; the first one brings the setting."""

    def say(answer: Mapping[str, Any]) -> None:
        answers.write(orjson.dumps(answer) + b"\n")
        answers.flush()

    def tell(what: str, done: int, of: int) -> None:
        say({"tell": [what, done, of]})

    desk: Desk | None = None
    for line in jobs:
        message = orjson.loads(line)
        try:
            desk = desk or _desk_of(message["setting"], tell)
            say({"done": desk.do(job_from(message))})
        except BenchmarkError as problem:  # a mistake that was foreseen: its message says it all
            say({"failed": str(problem)})
        except Exception as problem:  # the boundary of the process: the parent decides, the log says where
            traceback.print_exc()
            say({"failed": f"{type(problem).__name__}: {problem}"})


def _desk_of(setting: Mapping[str, Any], tell: Progress) -> Desk:
    known = perturbations()
    task, slow = task_from(setting["task"]), KeptVectors(**setting["encoder"])
    return Desk(
        task,
        seeing=_seeing_of(setting["fitted"], slow, task),
        make=make_contenders,
        perturbations={name: known[name] for name in setting["perturbations"]},
        code=setting["code"],
        tell=tell,
    )


def _seeing_of(fitted: str | None, slow: KeptVectors, task: Benchmark) -> Seeing:
    """By the encoder whose texts were embedded, or by those fitted to it, which go by the id ``fitted``."""
    return FittedInside(slow, fitted_encoders(task), encoder_id=fitted) if fitted else ReadyEncoder(slow)


def end_with(parent: int) -> None:
    """End this process soon after its parent has, even in the middle of a fit: nobody would read the answer."""
    while os.getppid() == parent:
        sleep(_LOOK_EVERY_S)
    os._exit(1)


if __name__ == "__main__":
    Thread(target=end_with, args=(int(sys.argv[1]),), daemon=True).start()
    # Libraries print where they like; what they print must not come between the answers.
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        main(sys.stdin.buffer, private)
    except BrokenPipeError:
        sys.exit(1)  # the parent is gone
