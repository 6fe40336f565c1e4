"""A real control plane over a real PostgreSQL, and callers of it."""

import secrets
import tempfile
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import psycopg

from remit.api.people import NewPerson
from remit.bootstrap import Authority, open_database
from remit.grants.ports import Said
from remit.kernel.clock import Clock
from remit.notify.ports import Decides
from remit.settings import load_settings
from tests.store.database import AS_A_TEST, leave_embedded

ADMIN = "ada@acme.example"
SAID = Said(at=datetime(2026, 6, 1, tzinfo=UTC), actor=ADMIN, operation="test")
END = "2099-01-01T00:00:00Z"


class Caller:
    """One person with a token."""

    def __init__(self, url: str, token: str | None) -> None:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60)

    def get(self, route: str, **params: Any) -> httpx.Response:
        return self.http.get(route, params=params)

    def write(
        self, method: str, route: str, body: Any = None, *, key: str | None = None, if_match: Any = None, **params: Any
    ) -> httpx.Response:
        """A write under a fresh idempotency key, unless one is given."""
        headers = {"idempotency-key": key or secrets.token_hex(8)}
        if if_match is not None:
            headers["if-match"] = str(if_match)
        return self.http.request(method, route, json=body, headers=headers, params=params)

    def create(self, path: str, limit: int | None = None, *, key: str | None = None, **more: Any) -> httpx.Response:
        """A grant with at most one limit, nano-USD per month."""
        body: dict[str, Any] = {"path": path, "owner": ADMIN, "reason": "test", **more}
        if "/" not in path:
            body = {"class": "production", "expires_at": END, **body}
        if limit is not None:
            body["limits"] = [usd(limit)]
        return self.write("POST", "/grants", body, key=key)

    def made(self, path: str, limit: int | None = None, **more: Any) -> dict[str, Any]:
        answer = self.create(path, limit, **more)
        assert answer.status_code == 201, answer.text
        grant: dict[str, Any] = answer.json()
        return grant

    def patch(self, path: str, **fields: Any) -> httpx.Response:
        return self.write("PATCH", f"/grants/{ref(path)}", {"reason": "test", **fields})

    def act(self, verb: str, path: str, **fields: Any) -> httpx.Response:
        return self.write("POST", f"/grants/{ref(path)}/{verb}", {"reason": "test", **fields})

    def apply(self, grants: Any, *, key: str | None = None, dry_run: bool | None = None, **more: Any) -> httpx.Response:
        body = {"manifest": {"version": 1, "grants": grants}, "reason": "test", **more}
        params = {} if dry_run is None else {"dry_run": dry_run}
        return self.write("POST", "/apply", body, key=key, **params)


class Plane(AbstractContextManager["Plane"]):
    """The server in a thread of this process, on a database of its own: the migrated one of `url`, or one it makes."""

    def __init__(
        self,
        decides: Decides | None = None,
        *,
        url: str | None = None,
        clock: Clock | None = None,
        **settings_more: Any,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="remit-api-", ignore_cleanup_errors=True)
        settings = load_settings(
            overrides={"data_dir": Path(self._folder.name), "api": {"listen": "127.0.0.1:0"}, **settings_more},
            environment={},
        )
        self.url = url or open_database(settings)
        self._is_embedded = url is None
        self.authority = Authority(settings, self.url, clock)
        self.authority.decides = decides
        try:
            self.server = self.authority.api()
        except BaseException:
            self._folder.cleanup()
            raise
        self.services = self.authority.api_services()
        self.people = self.authority.people()
        self._callers: list[Caller] = []
        self.admin = self.caller(ADMIN, is_admin=True)
        self.nobody = self.bearer(None)

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for caller in self._callers:
            caller.http.close()
        self.server.stop()
        if self._is_embedded:
            leave_embedded(Path(self._folder.name))
        self._folder.cleanup()

    def token(self, name: str, *, is_admin: bool = False) -> NewPerson:
        made = self.people.create(name, ADMIN, is_admin=is_admin)
        assert isinstance(made, NewPerson), made
        return made

    def caller(self, name: str, *, is_admin: bool = False) -> Caller:
        return self.bearer(self.token(name, is_admin=is_admin).text)

    def bearer(self, token: str | None) -> Caller:
        """Whoever presents this token."""
        caller = Caller(self.server.url, token)
        self._callers.append(caller)
        return caller

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Reads the database as its superuser."""
        with psycopg.connect(self.url, autocommit=True, options="-c search_path=remit") as connection:
            connection.execute(AS_A_TEST)
            return connection.execute(statement.encode(), parameters).fetchall()

    def insert(self, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Puts a row there that nothing of the control plane would write."""
        with psycopg.connect(self.url, autocommit=True, options="-c search_path=remit") as connection:
            connection.execute(AS_A_TEST)
            return connection.execute(statement.encode(), values).fetchall()


def ref(path: str) -> str:
    return quote(path, safe="")


def usd(amount: int, period: str = "month") -> dict[str, Any]:
    return {"dimension": "usd", "amount": amount, "period": period}


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem of a refused request, which has this status and code and the form all problems have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json", answer.headers
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status and problem["request_id"] == answer.headers["x-request-id"]
    assert problem["problems"] and code in [one["code"] for one in problem["problems"]], problem
    return problem
