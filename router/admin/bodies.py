"""What the admin API takes and gives, as its OpenAPI description shows it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from router.directory.directory import MOST_GRACE_S

Settings = Annotated[
    dict[str, Any], Field(description="As under tenants.<name> of the configuration file, without keys")
]
Name = Annotated[str, Field(max_length=64)]
Usd = Annotated[float, Field(gt=0)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewTenant(Body):
    name: Name
    settings: Settings = {}


class TenantChanges(Body):
    settings: Annotated[Settings, Field(description="What to set; null takes a setting back to its default")]


class TenantShown(BaseModel):
    name: str
    kept_in: Literal["file", "store"]
    settings: Settings
    n_keys: int
    problem: Annotated[str | None, Field(description="Why a tenant of the store is not served by this gateway")]


class NewKeyAsked(Body):
    tenant: Name
    name: Annotated[str, Field(max_length=64, description="What to call it")] = ""


class Rotation(Body):
    grace_s: Annotated[float, Field(ge=0, le=MOST_GRACE_S, description="Seconds the old key stays valid")] = 86_400


class KeyShown(BaseModel):
    key_id: str
    tenant: str
    name: str
    created_at: Annotated[float | None, Field(description="POSIX seconds; null for a key of the file")]
    expires_at: Annotated[float | None, Field(description="POSIX seconds; null: it does not end")]
    state: Literal["valid", "ending", "ended"]
    kept_in: Literal["file", "store"]


class KeyMade(BaseModel):
    key_id: str
    tenant: str
    name: str
    created_at: float
    expires_at: float | None
    key: Annotated[str, Field(description="The key itself, shown this once")]


class KeyEnded(BaseModel):
    key_id: str
    tenant: str


class BudgetChange(Body):
    per: Literal["hour", "day", "month"]
    usd: Annotated[Usd | None, Field(description="Null takes the budget away")]
    pace: Annotated[bool | None, Field(description="Make it last its window; null: as it was")] = None


class ErasureAsked(Body):
    organisation: Annotated[
        str | None, Field(max_length=200, description="Whose tenant it was; needed for one that was deleted or moved")
    ] = None
    budgets: Annotated[bool, Field(description="Also what it spent: its budgets count anew")] = False


class ErasureShown(BaseModel):
    id: str
    tenant: str
    organisation: str
    budgets: bool
    state: Literal["running", "done", "failed"]
    problem: Annotated[str | None, Field(description="Why it failed; ask for it again once that is mended")]
    n_rows: Annotated[int | None, Field(description="Rows of the log that are gone; null until it is done")]
    n_keys: Annotated[int | None, Field(description="Other keys of the store that are gone")]
    n_open: Annotated[int | None, Field(description="Requests still open, whose rows are to come: erase again")]
    is_compact: Annotated[
        bool | None, Field(description="False: run BGREWRITEAOF or BGSAVE on the store, whose files still hold it")
    ]
    left: Annotated[
        list[str] | None, Field(description="What is or may be left, and what to do about it; empty: all is gone")
    ]


class Failure(BaseModel):
    """Every 4xx and 5xx, as OpenAI's API has it."""

    class Error(BaseModel):
        message: str
        type: str
        param: str | None
        code: str | None

    error: Error


class Deleted(BaseModel):
    name: str


class Entries(BaseModel):
    entries: Annotated[list[dict[str, Any]], Field(description="Oldest first")]
    next_after: Annotated[int | None, Field(description="Ask for what follows with it; null at the end")]


class Verified(BaseModel):
    whole: bool
    n_entries: int
    problem: str | None


class Health(BaseModel):
    status: Literal["ok"]
