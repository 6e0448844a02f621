"""The configuration file as types: strict, immutable, read at a glance. `router.config.load` reads and reports it."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from policies.arms import Mode
from router.store.ledger import MAX_USD, Per
from router.store.limits import MOST_PER_MINUTE

Capability = Literal["tools", "schema", "images", "logprobs", "n"]
Thinking = Literal["none", "reasoning_effort", "chat_template_kwargs", "budget_tokens", "prompt"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
PerMinute = Annotated[int, Field(ge=1, le=MOST_PER_MINUTE)]


def _effort_text(value: object) -> object:
    # A token budget is written as a number in YAML and is a text in an arm's name.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Effort = Annotated[str, BeforeValidator(_effort_text)]


class Strict(BaseModel):
    """Unknown keys are mistakes; a loaded configuration never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Limits(Strict):
    """What a client may ask of this process before any of it is trusted."""

    body_bytes: Count = 10_000_000
    json_depth: Count = 64
    messages: Count = 2000
    tools: Count = 256
    n: Count = 8
    header_bytes: Count = 16_384
    header_s: Seconds = 10.0
    body_s: Seconds = 60.0
    inflight: Count = 512


class Server(Strict):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 4000
    workers: Count = 1
    drain_s: Seconds = 30.0
    require_key: bool = False  # also on the loopback, and before any key exists
    limits: Limits = Limits()


class Admin(Strict):
    """The listener of the admin HTTP API, apart from that of clients; without it there is none."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 4001
    key: Annotated[str, Field(repr=False)]  # its own; a clear text from ${ENV} or `hmac:<hex>`


class StoreConfig(Strict):
    """`url` is `embedded` (own Valkey on a unix socket under `dir`) or redis://… / rediss://… / unix://…"""

    url: Annotated[str, Field(repr=False)] = "embedded"
    dir: str = "~/.local/share/gearshift"
    when_down: Literal["reject", "serve"] = "reject"  # serve: answers go on, rows wait in the local spool
    archive_s: Seconds = 60.0
    high_water_rows: Count = 2_000_000


class EncoderConfig(Strict):
    name: str = "minilm"
    source: str | None = None  # hub id or folder
    cache_entries: Annotated[int, Field(ge=0)] = 4096
    late_ms: Annotated[float, Field(gt=0)] = 50.0


class Rule(Strict):
    """`when` holds conditions on the context (all must hold); `prefer` lists arm patterns, first eligible wins."""

    when: dict[str, float | int | bool | str] = {}
    prefer: list[str]
    because: str = ""


class OnlineConfig(Strict):
    """Learning while serving, by the default policy alone; `explore_share` of requests may follow doubt."""

    enabled: bool = False
    explore_share: Share = 0.0
    extra_usd: Annotated[float, Field(ge=0.0)] | None = None  # as a share of the best arm's cost; None: no bound
    trials: dict[str, Annotated[float, Field(gt=0.0)]] = {}  # arm -> USD that exploring it may cost
    interval_s: Annotated[float, Field(ge=0.1, le=60.0)] = 5.0
    wait_s: Seconds = 86_400.0
    most_waiting: Count = 100_000
    metrics: dict[str, Annotated[float, Field(gt=0.0, le=1.0)]] | None = None  # None: all of `feedback`, alike


class PolicyConfig(Strict):
    name: str = "rules"
    arm: str | None = None  # for `static`
    artifact: str | None = None  # directory, for a learned policy
    rules: list[Rule] = []  # for `rules`; empty = the shipped ones
    fallback: str | None = None  # arm that answers when routing fails or is late; default: the cheapest arm
    online: OnlineConfig = OnlineConfig()


UsdPrice = Annotated[float, Field(ge=0, le=1e9)]  # beyond it a number was meant otherwise, and sums of it would not fit
Usd = Annotated[float, Field(ge=1e-9, le=MAX_USD)]  # a budget of less than a nano-USD would be none


class PriceConfig(Strict):
    """USD per million tokens; `usd_per_gpu_second` is paid for the time of an attempt beside them.

    `litellm` names the entry of litellm's table that the rest was filled from, see `router.config.price_table`.
    """

    input: UsdPrice
    output: UsdPrice
    cached_input: UsdPrice | None = None
    cache_write: UsdPrice | None = None
    cache_write_1h: UsdPrice | None = None
    reasoning: UsdPrice | None = None
    audio_input: UsdPrice | None = None
    audio_output: UsdPrice | None = None
    usd_per_gpu_second: UsdPrice = 0.0
    litellm: str | None = None


class Timeouts(Strict):
    connect_s: Seconds = 2.0
    first_byte_s: Seconds = 120.0
    between_chunks_s: Seconds = 60.0
    total_s: Seconds = 600.0


class Deployment(Strict):
    """One endpoint and key of a model; several are balanced by weight, below the policy, and logged."""

    upstream: Literal["openai", "litellm", "fake", "local"] = "openai"
    base_url: str | None = None
    api_key: Annotated[str | None, Field(repr=False)] = None
    model: str | None = None  # the name the endpoint knows; default: the registered name
    weight: Annotated[float, Field(gt=0)] = 1.0
    region: Annotated[str, Field(min_length=1)] | None = None  # named by `regions` of tenants
    headers: Annotated[dict[str, str], Field(repr=False)] = {}
    timeouts: Timeouts | None = None


class ModeConfig(Strict):
    """How a mode asks.

    `max_tokens` bounds the answer when the client sets no bound; `system` is prepended (thinking: prompt); `effort` is
    told when the arm has none (thinking: reasoning_effort), so that `instant` need not mean the endpoint's default.
    """

    max_tokens: Count | None = None
    system: str | None = None
    effort: Effort | None = None


class ModelConfig(Strict):
    """A registered model; its arms are `modes` × (`efforts` for reasoning)."""

    deployments: Annotated[list[Deployment], Field(min_length=1)]
    modes: Annotated[list[Mode], Field(min_length=1)] = ["instant"]
    efforts: list[Effort] = []  # of the reasoning mode; empty: one reasoning arm without an effort
    thinking: Thinking = "none"  # how mode and effort are told to the endpoint
    capabilities: list[Capability] = ["tools", "schema", "logprobs", "n"]
    price: PriceConfig | None = None
    context_tokens: Count = 32_768
    max_output_tokens: Count = 8192
    tokens_per_image: Count = 2000
    first_token_s: Seconds = 0.5
    tokens_per_s: Seconds = 50.0
    timeouts: Timeouts = Timeouts()
    mode_overrides: dict[
        Mode, ModeConfig
    ] = {}  # this model's own `modes`, read through `router.config.arms.mode_config`


class TradeOffConfig(Strict):
    """What a correct answer is worth (1/λ), what a second costs in USD, and the caps."""

    usd_per_correct_answer: Annotated[float, Field(gt=0)]
    usd_per_s: Annotated[float, Field(ge=0)] = 0.0
    quality_floor: Share = 0.0
    max_usd: Annotated[float, Field(gt=0)] | None = None
    max_s: Seconds | None = None  # latency target


class Budget(Strict):
    """At most `usd` in each UTC hour, day or month, counted in the store; `pace`: λ is raised so that it lasts."""

    per: Per
    usd: Usd
    pace: bool = False


class AlertsConfig(Strict):
    """A POST to `webhook` when a budget's window reaches a level, in percent of its limit; once for each window."""

    levels: list[Annotated[int, Field(ge=1, le=100)]] = [50, 80, 100]
    webhook: Annotated[str | None, Field(repr=False, pattern="^https?://")] = None


class Caps(Strict):
    """What an organisation, a tenant or a key may do; a request is bound by all three. None: no cap."""

    requests_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None  # input and output
    concurrency: Count | None = None  # requests open at once, in all gateways
    models: list[str] | None = None
    modes: list[Mode] | None = None
    regions: list[str] | None = None  # where prompts may go, beside this gateway's own processes
    residency: Literal["any", "local"] = "any"  # local: nowhere but where `regions` says
    mode_shares: dict[Mode, Annotated[float, Field(gt=0.0, le=1.0)]] = {}  # of the last `share_window_s`' requests
    share_window_s: Annotated[int, Field(ge=60, le=31 * 86_400)] = 3600


class Organisation(Caps):
    """What all tenants of one owner share."""

    budgets: list[Budget] = []


class Tenant(Caps):
    """Who asks. `keys` are clear texts from ${ENV} or `hmac:<hex>`; without any, it serves the keyless loopback."""

    organisation: str = "default"
    keys: Annotated[list[str], Field(repr=False)] = []
    trade_off: str = "balanced"
    explore: Share = 0.0
    key_caps: dict[str, Caps] = {}  # by a key's id, the first 8 hex digits of its HMAC
    observe: bool = False
    store_prompts: bool = False
    retention_days: Count | None = None  # of stored texts; None: for ever
    training: bool = True
    reference: str | None = None  # arm that `quality_floor` is relative to; default: the one predicted best
    budgets: list[Budget] = []
    when_spent: Literal["reject", "cheapest", "local"] = "reject"
    outage_usd: Usd | None = None  # by each worker, while the store is down


class Config(Strict):
    """Everything a gateway is told. Built by `router.config.load`; swapped whole on SIGHUP."""

    server: Server = Server()
    admin: Admin | None = None
    store: StoreConfig = StoreConfig()
    encoder: EncoderConfig = EncoderConfig()
    policy: PolicyConfig = PolicyConfig()
    models: Annotated[dict[str, ModelConfig], Field(min_length=1)]
    modes: dict[Mode, ModeConfig] = {}
    trade_offs: dict[str, TradeOffConfig] = {}
    tenants: dict[str, Tenant] = {}
    organisations: dict[str, Organisation] = {}
    alerts: AlertsConfig = AlertsConfig()
    feedback: dict[str, tuple[float, float]] = {
        "accept": (0, 1),
        "score": (0, 1),
        "thumbs": (0, 1),
        "tests_passed": (0, 1),
    }
