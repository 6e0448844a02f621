"""One collection: every arm on every prompt through the gateway, at most the cap, and never the same cell twice."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from policies.checks.base import Verdict
from training.collect.calls import NO_ROOM, PaidCalls
from training.collect.errors import CollectError, GatewayDown
from training.collect.gateway import Gateway
from training.collect.journal import Journal, Past
from training.collect.judge import MAX_TOKENS as JUDGE_TOKENS
from training.collect.judge import judge_messages, read_score
from training.collect.prompts import JUDGE, Task
from training.records.record import RecordError, arm_fields

GIVE_UP_AFTER = 8  # failures of one arm in a row

Tell = Callable[[int, int, float], None]  # cells done, of all, USD so far


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be collected.

    Attributes:
        arms: Names; empty for every arm of the gateway.
        max_usd: Cap over everything this folder ever cost; infinite for none.
        max_tokens: Bound of each answer.
        temperature: Sent along where given.
        only: Of these prompts, by id, only these of the arms; of any other all.
        bounds: Of answers to these prompts, by id, instead of ``max_tokens``; none is higher.
    """

    tasks: Sequence[Task]
    out: Path
    max_usd: float
    arms: tuple[str, ...] = ()
    judge: str | None = None
    concurrency: int = 4
    max_tokens: int = 4096
    temperature: float | None = None
    keep_answers: bool = False
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bounds: Mapping[str, int] = field(default_factory=dict)

    def most_tokens(self, query_id: str) -> int:
        """Bound of the answers to a prompt."""
        return self.bounds.get(query_id, self.max_tokens)


@dataclass(slots=True)
class Ending:
    """How a run ended.

    Attributes:
        arms: The arms it was for.
        stopped: Empty if every cell was tried, else why it stopped before.
        gone: Arms that are not asked any more, with the reason.
        notes: What to keep in mind when the figures are read.
    """

    arms: list[str] = field(default_factory=list)
    stopped: str = ""
    gone: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


async def collect(plan: Plan, gateway: Gateway, journal: Journal, *, tell: Tell) -> Ending:
    """Ask what the journal does not hold yet, and write down every call and every graded answer.

    Raises:
        CollectError: An arm is not the gateway's, a prompt is not the one collected before, or the gateway refuses.
        UnknownCost: The cap cannot be kept because the gateway told no cost.
    """
    past = journal.past()
    arms = _arms(plan, await gateway.arms())
    _same_tasks(plan, past, journal)
    run = _Run(plan, gateway, journal, past=past, arms=arms, tell=tell)
    try:
        await run.ask_all()
    except GatewayDown as down:
        run.ending.stopped = str(down)
    return run.ending


def _arms(plan: Plan, known: list[str]) -> list[str]:
    wanted = [*(plan.arms or known), *([plan.judge] if plan.judge else [])]
    unknown = [arm for arm in wanted if arm not in known]
    if unknown:
        raise CollectError(f"{unknown[0]!r} is no arm of this gateway; it has {', '.join(known)}")
    for arm in wanted:
        try:
            arm_fields(arm)
        except RecordError as problem:
            raise CollectError(f"arm {arm!r}: {problem}") from problem
    return list(dict.fromkeys(plan.arms or known))


def _same_tasks(plan: Plan, past: Past, journal: Journal) -> None:
    """A folder's answers are to the same questions, asked and graded alike. Raises CollectError otherwise."""
    for task in plan.tasks:
        met = past.tasks.get(task.query_id)
        if met is None:
            row = {"query_id": task.query_id, "fingerprint": task.fingerprint, "check": task.check}
            journal.append({"kind": "task", **row, "prompt": task.prompt, "domain": task.domain})
        elif met["fingerprint"] != task.fingerprint:
            raise CollectError(
                f"{journal.file}: prompt {task.query_id!r} was collected with another text, check or output bound; "
                "give another --out, or another id"
            )


def _notes(judge: str | None, arms: list[str]) -> list[str]:
    same = [arm for arm in arms if judge is not None and arm_fields(arm)[0] == arm_fields(judge)[0]]
    return [f"{judge} judged its own model's answers ({', '.join(same)}); judges favour their own"] if same else []


class _Run:
    """The state of one collection while it runs."""

    def __init__(
        self, plan: Plan, gateway: Gateway, journal: Journal, *, past: Past, arms: list[str], tell: Tell
    ) -> None:
        self.ending = Ending(arms=arms, notes=_notes(plan.judge, arms))
        self._plan, self._journal, self._tell = plan, journal, tell
        cells = [(task, arm) for task in plan.tasks for arm in plan.only.get(task.query_id, arms)]
        self._todo = [(task, arm) for task, arm in cells if not past.answered((task.query_id, arm))]
        self._of, self._done = len(cells), len(cells) - len(self._todo)
        self._calls = PaidCalls(gateway, journal, past=past, max_usd=plan.max_usd)
        self._purse, self._failures = self._calls.purse, Counter[str]()
        self._under_way, self._turn = 0, asyncio.Condition()

    async def ask_all(self) -> None:
        """Every open cell, prompt by prompt, so that a run that stops leaves whole rows."""
        judged = self._plan.judge is not None and any(task.check == JUDGE for task, _ in self._todo)
        asked = [arm for _, arm in self._todo] + ([str(self._plan.judge)] if judged else [])
        self.ending.gone |= await self._calls.learn_prices(asked)
        self._tell(self._done, self._of, self._purse.spent_usd)
        todo = iter(self._todo)
        workers = [asyncio.create_task(self._work(todo)) for _ in range(self._plan.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        # Where the cap had no room for an arm's first call, asking again under the same cap would change nothing.
        if NO_ROOM in self.ending.gone.values():
            self.ending.stopped = self.ending.stopped or "cap"

    async def _work(self, todo: Iterator[tuple[Task, str]]) -> None:
        for task, arm in todo:
            if arm in self.ending.gone:
                continue
            if task.check == JUDGE and self._plan.judge in self.ending.gone:
                self.ending.stopped = f"judge {self._plan.judge}: {self.ending.gone[self._plan.judge]}"
                return
            most = self._plan.most_tokens(task.query_id)
            bounds = self._calls.bounds(task, arm, judge=self._plan.judge, max_tokens=most)
            if not await self._admitted(sum(bounds)):
                self.ending.stopped = self.ending.stopped or "cap"
                return
            try:
                await self._cell(task, arm, answer_usd=bounds[0], judge_usd=bounds[1])
            finally:
                await self._leave(sum(bounds))
            self._done += 1
            self._tell(self._done, self._of, self._purse.spent_usd)

    async def _admitted(self, bound_usd: float) -> bool:
        """Wait until the bound fits under the cap; false once it cannot, because nothing under way could free any."""
        async with self._turn:
            while not self.ending.stopped:
                if self._purse.reserve(bound_usd):
                    self._under_way += 1
                    return True
                if not self._under_way:
                    break
                await self._turn.wait()
            return False

    async def _leave(self, bound_usd: float) -> None:
        async with self._turn:
            self._purse.release(bound_usd)
            self._under_way -= 1
            self._turn.notify_all()

    async def _cell(self, task: Task, arm: str, *, answer_usd: float, judge_usd: float) -> None:
        more: dict[str, object] = {} if self._plan.temperature is None else {"temperature": self._plan.temperature}
        bound: dict[str, object] = {"max_tokens": self._plan.most_tokens(task.query_id)}
        at = time.time()
        reply = await self._calls.call(arm, task.messages, what="answer", bound_usd=answer_usd, **bound, **more)
        verdict, status = Verdict(None, "no answer"), reply.status
        if status == "ok":
            verdict, status = await self._graded(task, reply.text, judge_usd=judge_usd)
        self._count_failure(arm, failed=reply.status != "ok", why=reply.status)
        answer = {"answer": reply.text} if self._plan.keep_answers and reply.status == "ok" else {}
        facts = {key: value for key, value in asdict(reply).items() if key not in ("text", "status", "billable")}
        row = {"query_id": task.query_id, "arm": arm, "status": status, "score": verdict.score}
        self._journal.append({"kind": "cell", **row, "reason": verdict.reason, "at": at, **facts, **answer})

    async def _graded(self, task: Task, text: str, *, judge_usd: float) -> tuple[Verdict, str]:
        if task.grade is not None:
            return await asyncio.to_thread(task.grade, text), "ok"
        judge = str(self._plan.judge)
        asked = judge_messages(task, text)
        reply = await self._calls.call(
            judge, asked, what="judge", bound_usd=judge_usd, max_tokens=JUDGE_TOKENS, temperature=0.0
        )
        verdict = read_score(reply.text) if reply.status == "ok" else Verdict(None, f"judge: {reply.status}")
        self._count_failure(judge, failed=verdict.score is None, why=verdict.reason)
        return verdict, "ok" if verdict.score is not None else "judge_failed"

    def _count_failure(self, arm: str, *, failed: bool, why: str) -> None:
        self._failures[arm] = self._failures[arm] + 1 if failed else 0
        if self._failures[arm] >= GIVE_UP_AFTER:
            self.ending.gone[arm] = f"{GIVE_UP_AFTER} failures in a row, the last: {why}"
