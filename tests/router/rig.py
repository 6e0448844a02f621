"""A gateway in this process for tests: real store and pipeline, scripted upstreams without sockets, a tiny encoder."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson
import redis

from policies.context import Context
from policies.policy import ArmFacts, Policy, Scores
from policies.predictions import Predictions
from policies.tradeoff import TradeOff
from router.app import create_app
from router.client import Admission
from router.config.budgets import outage_holds
from router.config.load import build_config, config_hash
from router.config.schema import Config
from router.encoding import EmbeddingService
from router.gateway import Gateway
from router.metrics import Metrics
from router.sessions import Sessions
from router.setup import Setup
from router.store.base import Store, StoreUnavailable
from router.store.valkey import StoreOptions, ValkeyStore
from router.upstreams.deployments import Maker
from router.upstreams.local import LocalUpstream
from router.upstreams.openai import open_session
from router.wiring import make_setup

SECRET = b"a secret of the tests"
CHAT = "/v1/chat/completions"
PATIENT = {"late_ms": 10_000}  # an embedding is late where a test holds it back, not where the machine is busy
Json = dict[str, Any]


class TinyEncoder:
    """Four dimensions out of a hash. Waits while `gate` is cleared; fails with `error` if one is set."""

    encoder_id, name, dim = "tiny-0123456789ab", "tiny", 4

    def __init__(self) -> None:
        self.gate, self.texts = threading.Event(), list[str]()
        self.gate.set()
        self.error: Exception | None = None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += texts
        self.gate.wait(5)
        if self.error is not None:
            raise self.error
        raw = [np.frombuffer(hashlib.sha256(text.encode()).digest()[:4], np.uint8) + 1.0 for text in texts]
        return np.array([row / np.linalg.norm(row) for row in raw], np.float32)


@dataclass
class Given:
    """A policy that does what a test says: probabilities and qualities by arm (default: the first arm, unknown)."""

    dist: Mapping[str, float] = field(default_factory=dict)
    quality: Mapping[str, float] = field(default_factory=dict)
    error: Exception | None = None
    encoder_id: str = ""
    name: str = "given"
    version: str = "1"
    seen: list[Context] = field(default_factory=list)

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        self.seen.append(context)
        if self.error is not None:
            raise self.error
        weights = np.array([self.dist.get(arm.name, 0.0) for arm in arms])
        dist = weights / weights.sum() if weights.sum() else np.eye(len(arms))[0]
        quality = np.array([self.quality.get(arm.name, np.nan) for arm in arms])
        unknown = np.full(len(arms), np.nan)
        return Scores(dist, Predictions(quality, unknown, unknown, unknown), "as the test says")


def tree(*names: str, **more: Any) -> Json:
    """A configuration of scripted models, each ten times dearer than the one before."""
    models = {
        name: {
            "deployments": [{"upstream": "fake", "model": f"{name}-served"}],
            "capabilities": ["tools", "schema", "images", "logprobs", "n"],
            "price": {"input": 0.1 * 10**place, "output": 0.4 * 10**place},
            "modes": ["instant"],
        }
        for place, name in enumerate(names or ("small", "large"))
    }
    return {"models": models, "encoder": PATIENT, **more}


def config_of(plain: Json) -> Config:
    return build_config(plain, source="test", env={})


def scripted(config: Config, folder: Path, answers: Mapping[str, Json]) -> Config:
    """The configuration with a script for each named model."""
    models = dict(config.models)
    for name, answer in answers.items():
        path = folder / f"{name}.json"
        path.write_bytes(orjson.dumps({"default": answer}))
        told = [item.model_copy(update={"base_url": f"file://{path}"}) for item in models[name].deployments]
        models[name] = models[name].model_copy(update={"deployments": told})
    return config.model_copy(update={"models": models})


def body(text: str = "hello there", *, model: str = "auto", **more: Any) -> Json:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


@dataclass
class Got:
    """An answer on the wire."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""
    whole: bool = False

    @property
    def json(self) -> Any:
        return orjson.loads(self.raw)

    @property
    def error(self) -> Json:
        found: Json = self.json["error"]
        return found

    @property
    def events(self) -> list[Any]:
        texts = [line[6:] for line in self.raw.split(b"\n\n") if line.startswith(b"data: ")]
        return [text if text == b"[DONE]" else orjson.loads(text) for text in texts]


class Wire:
    """One request's connection: what the client sends, whether it is still there, what it got."""

    def __init__(self, raw: bytes) -> None:
        self.got, self._raw, self._sent = Got(), raw, False
        self.left, self.begun = asyncio.Event(), asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self._raw, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert self.got.status == 0, "an answer begins once"
            self.got.status = message["status"]
            self.got.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.got.raw += message.get("body", b"")
            self.got.whole = not message.get("more_body", False)
            self.begun.set()


class Watched:
    """A store that counts; with "settle" in `fail` it does as if store and spool were both gone."""

    def __init__(self, store: Store) -> None:
        self._store, self.begun, self.settled = store, list[str](), list[Any]()
        self.starts: list[Any] = []
        self.fail, self.wait = set[str](), asyncio.Event()
        self.wait.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def begin(self, start: Any) -> Any:
        self.starts.append(start)
        standings = await self._store.begin(start)
        self.begun.append(start.request_id)
        return standings

    async def settle(self, end: Any) -> bool:
        self.settled.append(end)
        await self.wait.wait()
        if "settle" in self.fail:
            raise StoreUnavailable("gone")
        return await self._store.settle(end)


class World:
    """``async with World(url, folder, tree()) as world: await world.chat(body())``."""

    def __init__(
        self,
        url: str,
        folder: Path,
        plain: Json,
        *,
        policy: Policy | None = None,
        scripts: Mapping[str, Json] | None = None,
        high_water: int = 0,
    ) -> None:
        self.config, self.encoder = scripted(config_of(plain), folder, scripts or {}), TinyEncoder()
        self._url, self._folder, self._policy, self._high_water = url, folder, policy, high_water
        self._stack = AsyncExitStack()
        self.local: Maker = LocalUpstream
        self.gateway: Gateway

    async def __aenter__(self) -> Self:
        self._session = await self._stack.enter_async_context(open_session())
        options = StoreOptions(
            spool_dir=self._folder / "spool", when_down=self.config.store.when_down, high_water_rows=self._high_water
        )
        valkey = ValkeyStore(self._url, options)
        await valkey.start()
        self._stack.push_async_callback(valkey.aclose)
        self.store, metrics = Watched(valkey), Metrics()
        service = EmbeddingService(self.encoder)
        self._stack.callback(service.close)
        self._stack.callback(self.encoder.gate.set)
        self.gateway = Gateway(
            setup=self.setup_of(self.config),
            store=self.store,
            encoder=service,
            sessions=Sessions(self.store),
            admission=Admission(metrics),
            metrics=metrics,
            rng=np.random.default_rng(7),
            secret=SECRET,
        )
        await valkey.keep_slices(lambda: outage_holds(self.gateway.setup.config))
        self.app = create_app(self.gateway, metrics_dir=self._folder, version="0")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def setup_of(self, config: Config, policy: Policy | None = None) -> Setup:
        setup = make_setup(
            config,
            config_hash=config_hash(config),
            encoder=self.encoder,
            session=self._session,
            secret=SECRET,
            local=self.local,
        )
        self._stack.push_async_callback(setup.deployments.aclose)
        policy = policy or self._policy
        return (
            setup
            if policy is None
            else replace(
                setup,
                policy=policy,
                policy_label=f"{policy.name}@{policy.version}",
                policy_series=f"{policy.name}@{policy.version}",
            )
        )

    def start(
        self, path: str, sent: Any = None, *, method: str = "POST", headers: Mapping[str, str] | None = None
    ) -> tuple[Wire, asyncio.Task[None]]:
        """A request under way."""
        wire = Wire(b"" if sent is None else orjson.dumps(sent))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        }
        return wire, asyncio.create_task(self.app(scope, wire.receive, wire.send))

    async def ask(self, path: str, sent: Any = None, **more: Any) -> Got:
        """A request, to its end."""
        wire, task = self.start(path, sent, **more)
        await asyncio.wait_for(task, 20)
        return wire.got

    async def chat(self, sent: Json, **headers: str) -> Got:
        return await self.ask(CHAT, sent, headers={name.replace("_", "-"): text for name, text in headers.items()})

    @property
    def calls(self) -> int:
        """Upstream calls under way."""
        deployments = self.gateway.setup.deployments
        return sum(endpoint.in_flight for model in self.config.models for endpoint in deployments.of(model))

    @property
    def places(self) -> int:
        """Places that the admission counts as taken, in all and by tenant."""
        admission = self.gateway.admission
        return admission._total + sum(admission._by_tenant.values())

    def rows(self, kind: bytes) -> list[Json]:
        """Rows of the log in the order of their writing: d(ecisions), o(utcomes), f(eedback)."""
        with redis.Redis.from_url(self._url) as server:
            keys = sorted(server.scan_iter("gs:*:log"))
            entries = [fields for key in keys for _, fields in server.xrange(key)]
        return [
            orjson.loads(fields[b"j"]) | {"embedding": fields.get(b"e", b"")}
            for fields in entries
            if fields[b"t"] == kind
        ]

    def row(self) -> Json:
        """The only decision."""
        (row,) = self.rows(b"d")
        return row

    def outcome(self) -> Json:
        """The only outcome."""
        (row,) = self.rows(b"o")
        return row


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - conditions of any kind, and no time passes
            await asyncio.sleep(0)
