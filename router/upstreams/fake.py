"""The scripted upstream: in process for `upstream: fake`, and as a program, `python -m router.upstreams.fake`."""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from typing import TypeVar

from router.config.schema import Deployment, Timeouts
from router.upstreams.base import Call, UpstreamError
from router.upstreams.fake_faults import FAULTS, Fault
from router.upstreams.fake_plan import Plan, error_plan
from router.upstreams.fake_script import Answer, Script, load_script, read_script
from router.upstreams.fake_server import FakeServer, Seen, planned
from router.upstreams.wire import check_success, refused

__all__ = ["FAULTS", "Answer", "FakeServer", "FakeUpstream", "Fault", "Script", "Seen", "load_script"]

T = TypeVar("T")


class FakeUpstream:
    """The same script without a socket.

    `deployment.base_url` may name a script file (``file:///…/script.json``); its models go by a deployment's `model`.
    """

    def __init__(self, name: str, deployment: Deployment, script: Script | None = None) -> None:
        self.name = name
        self._script = script or (read_script(deployment.base_url) if deployment.base_url else Script({}))
        self._attempts: Counter[str] = Counter()

    async def send(self, call: Call, timeouts: Timeouts) -> "FakeReply":
        """Answer as the script says. Raises UpstreamError like a real endpoint would."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        plan = self._plan(call)
        await self._until(started + timeouts.first_byte_s, asyncio.sleep(plan.first_s))
        if plan.before == "hang":
            await self._until(started + timeouts.first_byte_s, asyncio.Event().wait())
        if plan.before:
            raise UpstreamError(self.name, "garbage" if plan.before == "not_http" else "cut", retryable=True)
        if plan.status != 200:
            raise refused(self.name, status=plan.status, headers=plan.headers, body=plan.body)
        check_success(self.name, headers=plan.headers, stream=call.stream)
        return FakeReply(self.name, plan, timeouts, started=started)

    async def probe(self) -> None:
        """Always there."""

    async def aclose(self) -> None:
        """Nothing to close."""

    def _plan(self, call: Call) -> Plan:
        attempt = self._attempts[call.request_id]
        self._attempts[call.request_id] += 1
        try:
            answer = self._script.answer(call.body)
        except ValueError as error:
            return error_plan(400, str(error))
        fault = answer.fault_of(attempt)
        return planned(call.path, call.body, answer, fault=fault, request_id=call.request_id)

    async def _until(self, deadline: float, wait: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout_at(deadline):
                return await wait
        except TimeoutError as error:
            raise UpstreamError(self.name, "timeout", retryable=True) from error


class FakeReply:
    """A scripted body, piece by piece, under the same deadlines as a real one."""

    def __init__(self, name: str, plan: Plan, timeouts: Timeouts, *, started: float) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = dict(plan.headers)
        self._name, self._plan, self._timeouts, self._started = name, plan, timeouts, started
        self._closed = False

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamError, retryable, when it is cut or late."""
        return b"".join([part async for part in self._parts(retryable=True)])

    def chunks(self) -> AsyncIterator[bytes]:
        """The parts as they come. Raises UpstreamError when they are cut or late."""
        return self._parts(retryable=False)

    async def aclose(self) -> None:
        self._closed = True

    async def _parts(self, *, retryable: bool) -> AsyncIterator[bytes]:
        deadline = self._started + self._timeouts.first_byte_s
        left = self._plan.length if self._plan.length is not None and self._plan.length >= 0 else None
        for part in self._plan.parts:
            await self._sleep(part.wait_s, deadline, retryable)
            data = part.data if left is None else part.data[:left]
            left = None if left is None else left - len(data)
            if data and not self._closed:
                yield data
            deadline = asyncio.get_running_loop().time() + self._timeouts.between_chunks_s
        if self._plan.end == "hang":
            await self._sleep(float("inf"), deadline, retryable)
        # A body as long as it was declared is whole, however the connection ends after it.
        if self._plan.end != "complete" and left != 0:
            raise UpstreamError(self._name, "cut", status=200, retryable=retryable)

    async def _sleep(self, wait_s: float, deadline: float, retryable: bool) -> None:
        now = asyncio.get_running_loop().time()
        left_s = min(deadline, self._started + self._timeouts.total_s) - now
        await asyncio.sleep(min(wait_s, max(left_s, 0.0)))
        if wait_s > left_s:
            raise UpstreamError(self._name, "timeout", status=200, retryable=retryable)


async def serve(port: int, script: Script) -> None:
    """Serve a script until cancelled; prints the base URL once it listens."""
    async with FakeServer(script, port=port) as server:
        sys.stdout.write(server.base_url + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main(arguments: list[str] | None = None) -> None:
    """Command line of the scripted upstream."""
    parser = argparse.ArgumentParser(prog="python -m router.upstreams.fake", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free port; the URL is printed")
    parser.add_argument("--script", type=Path, help="JSON file: {default: {...}, models: {name: {...}}}")
    options = parser.parse_args(arguments)
    script = load_script(options.script.read_bytes()) if options.script else Script({})
    try:
        asyncio.run(serve(options.port, script))
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")


if __name__ == "__main__":
    main()
