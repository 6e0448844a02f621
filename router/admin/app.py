"""The admin API's application: every route, over the same `Directory` that the commands use."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import redis
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.security import HTTPBearer

from router.admin import bodies
from router.admin.erasures import Asked, Erasure, Erasures
from router.admin.gate import App, Gate
from router.admin.reports import Reports
from router.config.schema import Config
from router.directory.audit import AuditBroken, verify_end
from router.directory.directory import Directory, NewKey, shown_key
from router.directory.kept import DirectoryUnreadable
from router.directory.listed import listed_keys, listed_tenants, organisation_of
from router.directory.record import read_page, read_record
from router.errors import ApiError, NotFound, StoreDown, Unavailable
from router.http.asgi import error_headers
from router.http.boundary import ErrorBoundary, install_error_handlers
from router.store.base import StoreUnavailable
from router.store.place import data_dir, store_url

if TYPE_CHECKING:
    from router.store.erase import Erased

PAGE = 1000
OPEN_PATHS = ("/healthz", "/openapi.json")  # what they say is in the source


def create_admin_app(config: Config, *, client: redis.Redis, secret: bytes, version: str) -> App:
    """Build the application; the configuration has an `admin` section."""
    assert config.admin is not None
    api = admin_api(config, client=client, secret=secret, version=version)
    open_routes = [route for route in api.routes if getattr(route, "path", "") in OPEN_PATHS]
    return ErrorBoundary(Gate(api, routes=api.routes, key=config.admin.key, secret=secret, open_routes=open_routes))


def admin_api(config: Config, *, client: redis.Redis, secret: bytes, version: str) -> FastAPI:
    """Every route, without the gate."""
    api = FastAPI(
        title="Gearshift admin",
        version=version,
        description="Every route but /healthz and /openapi.json takes the key of `admin.key` as a bearer token.",
        docs_url=None,  # its page loads scripts from elsewhere, beside which nobody should type an admin key
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # what generated clients call their methods
    )
    install_error_handlers(api)
    _answer_for_the_store(api)
    AdminRoutes(config, client=client, secret=secret).install(api)
    return api


class AdminRoutes:
    """Handlers over one store: plain functions, which FastAPI runs on threads, for the store is waited for."""

    def __init__(self, config: Config, *, client: redis.Redis, secret: bytes) -> None:
        self._config, self._client, self._secret = config, client, secret
        self._erasures, self._reports = Erasures(), Reports(config, client=client)

    def install(self, api: FastAPI) -> None:
        """Register every route under its path, with the key that it takes and the errors that it gives."""
        bearer = HTTPBearer(auto_error=False, description="The key of `admin.key`")  # told here, asked for by the gate
        failures: dict[int | str, dict[str, Any]] = {each: {"model": bodies.Failure} for each in ("4XX", "5XX")}
        routes: list[tuple[str, str, Callable[..., Any], str]] = [
            ("GET", "/healthz", self.healthz, "The process is up"),
            ("GET", "/admin/v1/tenants", self.tenants, "Tenants of the file and of the store"),
            ("POST", "/admin/v1/tenants", self.create_tenant, "Keep a new tenant in the store"),
            ("GET", "/admin/v1/tenants/{name}", self.tenant, "One of them"),
            ("PATCH", "/admin/v1/tenants/{name}", self.change_tenant, "Change settings of a tenant of the store"),
            ("DELETE", "/admin/v1/tenants/{name}", self.delete_tenant, "Forget a tenant of the store and its keys"),
            ("PUT", "/admin/v1/tenants/{name}/budget", self.set_budget, "Set or take away a budget of it"),
            (
                "POST",
                "/admin/v1/tenants/{name}/erase",
                self.erase,
                "Begin to erase what a tenant left; location tells how it went",
            ),
            ("GET", "/admin/v1/erasures/{erasure_id}", self.erasure, "Whether an erasure runs, is done or failed"),
            ("GET", "/admin/v1/keys", self.keys, "Keys of the file and of the store, without the keys"),
            ("POST", "/admin/v1/keys", self.create_key, "Make a key of a tenant of the store, shown this once"),
            ("POST", "/admin/v1/keys/{key_id}/rotate", self.rotate_key, "Make a key in place of another"),
            ("DELETE", "/admin/v1/keys/{key_id}", self.revoke_key, "End a key now"),
            ("GET", "/admin/v1/budgets", self._reports.budgets, "What is spent, reserved and left, by tenant"),
            ("GET", "/admin/v1/budgets/forecast", self._reports.forecast, "When each budget will be spent"),
            ("GET", "/admin/v1/statement", self._reports.statement, "What was spent, on what and by whom"),
            ("GET", "/admin/v1/audit", self.audit, "The log of changes, a page at a time"),
            ("GET", "/admin/v1/audit/verify", self.verify, "Whether the log is whole"),
        ]
        for method, path, handler, summary in routes:
            guarded = [] if path in OPEN_PATHS else [Depends(bearer)]
            status = 202 if handler == self.erase else 200
            api.add_api_route(
                path,
                handler,
                methods=[method],
                summary=summary,
                status_code=status,
                responses=failures,
                dependencies=guarded,
            )

    def healthz(self) -> bodies.Health:
        return bodies.Health(status="ok")

    def tenants(self) -> list[bodies.TenantShown]:
        kept = self._directory().read()
        return [bodies.TenantShown.model_validate(row) for row in listed_tenants(self._config, kept)]

    def tenant(self, name: str) -> bodies.TenantShown:
        for shown in self.tenants():
            if shown.name == name:
                return shown
        raise NotFound(f"no tenant is called {name[:80]!r}", param="name", code="unknown_tenant")

    def create_tenant(self, request: Request, asked: bodies.NewTenant) -> bodies.TenantShown:
        self._directory(request).create_tenant(asked.name, asked.settings)
        return self.tenant(asked.name)

    def change_tenant(self, request: Request, name: str, asked: bodies.TenantChanges) -> bodies.TenantShown:
        self._directory(request).change_tenant(name, asked.settings)
        return self.tenant(name)

    def delete_tenant(self, request: Request, name: str) -> bodies.Deleted:
        self._directory(request).delete_tenant(name)
        return bodies.Deleted(name=name)

    def erase(
        self, request: Request, response: Response, name: str, asked: bodies.ErasureAsked | None = None
    ) -> bodies.ErasureShown:
        directory, given = self._directory(request), asked or bodies.ErasureAsked()
        owner = given.organisation or organisation_of(name, self._config, directory.read())
        what = Asked(owner, name, given.budgets)

        def carry_out() -> "Erased":
            from router.directory.erasing import erase_and_note

            store = self._config.store
            return erase_and_note(
                directory,
                self._client,
                store_url(store),
                data_dir(store),
                organisation=what.organisation,
                tenant=what.tenant,
                budgets=what.budgets,
            )

        begun = self._erasures.begin(what, carry_out)
        response.headers["location"] = f"/admin/v1/erasures/{begun.id}"
        response.headers["retry-after"] = "1"
        return _erasure(begun)

    def erasure(self, erasure_id: str) -> bodies.ErasureShown:
        found = self._erasures.find(erasure_id)
        if found is None:
            raise NotFound(
                f"this process knows of no erasure {erasure_id[:80]!r}: a restart ends those that run. The log of "
                "changes has erase.end of one that was done; else ask for it again",
                code="unknown_erasure",
            )
        return _erasure(found)

    def set_budget(self, request: Request, name: str, asked: bodies.BudgetChange) -> bodies.TenantShown:
        self._directory(request).set_budget(name, asked.per, asked.usd, pace=asked.pace)
        return self.tenant(name)

    def keys(self, tenant: str | None = None) -> list[bodies.KeyShown]:
        directory = self._directory()
        rows = listed_keys(self._config, directory.read(), secret=self._secret, now=directory.now())
        return [bodies.KeyShown.model_validate(row) for row in rows if tenant in (None, row["tenant"])]

    def create_key(self, request: Request, asked: bodies.NewKeyAsked) -> bodies.KeyMade:
        return _made(self._directory(request).create_key(asked.tenant, name=asked.name))

    def rotate_key(self, request: Request, key_id: str, asked: bodies.Rotation | None = None) -> bodies.KeyMade:
        grace_s = (asked or bodies.Rotation()).grace_s
        return _made(self._directory(request).rotate_key(key_id, grace_s=grace_s))

    def revoke_key(self, request: Request, key_id: str) -> bodies.KeyEnded:
        return bodies.KeyEnded(key_id=key_id, tenant=self._directory(request).revoke_key(key_id).tenant)

    def audit(
        self, after: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=PAGE)] = 100
    ) -> bodies.Entries:
        entries = [orjson.loads(line) for line in read_page(self._client, after=after, limit=limit)]
        return bodies.Entries(entries=entries, next_after=after + limit if len(entries) == limit else None)

    def verify(self) -> bodies.Verified:
        record = read_record(self._client)
        try:
            verify_end(record.lines, secret=self._secret, head=record.head, document=record.document)
        except AuditBroken as broken:
            return bodies.Verified(whole=False, n_entries=len(record.lines), problem=str(broken))
        return bodies.Verified(whole=True, n_entries=len(record.lines), problem=None)

    def _directory(self, request: Request | None = None) -> Directory:
        """As changed by who asks; to read, nobody needs to be named."""
        by = "" if request is None else request.state.by
        return Directory(self._client, config=self._config, secret=self._secret, by=by)


def _made(key: NewKey) -> bodies.KeyMade:
    return bodies.KeyMade(**shown_key(key.key), key=key.text)


def _erasure(found: Erasure) -> bodies.ErasureShown:
    erased = found.erased
    return bodies.ErasureShown(
        id=found.id,
        tenant=found.asked.tenant,
        organisation=found.asked.organisation,
        budgets=found.asked.budgets,
        state=found.state,
        problem=found.problem,
        n_rows=None if erased is None else erased.n_rows,
        n_keys=None if erased is None else erased.n_keys,
        n_open=None if erased is None else erased.n_open,
        is_compact=None if erased is None else erased.is_compact,
        left=None if erased is None else erased.left,
    )


def _answer_for_the_store(api: FastAPI) -> None:
    async def down(_: Request, error: Exception) -> Response:
        return _response(StoreDown("the store does not answer; nothing was changed, or look before trying again"))

    async def unreadable(_: Request, error: Exception) -> Response:
        return _response(Unavailable(str(error)))

    async def unavailable(_: Request, error: Exception) -> Response:
        return _response(StoreDown(str(error)))

    api.add_exception_handler(redis.RedisError, down)
    api.add_exception_handler(StoreUnavailable, unavailable)
    api.add_exception_handler(DirectoryUnreadable, unreadable)


def _response(error: ApiError) -> Response:
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return Response(error.body(), error.status, headers, media_type="application/json")
