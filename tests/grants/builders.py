"""Short ways to make grants, authorship and a service over the repository in memory."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from remit.grants.edits import NewGrant
from remit.grants.model import Actor, Grant, Limit
from remit.grants.service import Answer, Authorship, GrantService, NotWritten, Written
from remit.grants.tree import Tree
from remit.kernel.money import parse_usd
from remit.kernel.periods import PeriodKind
from remit.testing.grants import MemoryGrantRepository

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
YEAR_END = datetime(2027, 1, 1, tzinfo=UTC)
ADMIN = Actor("root@acme.example", is_admin=True)
_KEYS = count()


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: datetime = NOW) -> None:
        self.instant = now

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.instant.timestamp()

    def pass_days(self, days: int) -> None:
        self.instant += timedelta(days=days)


class World:
    """A service, its clock and its repository, with short writes by an admin."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.repository = MemoryGrantRepository()
        numbers = count()
        self.service = GrantService(self.repository, self.clock, lambda now: f"grant_{next(numbers):026d}")

    def create(self, path: str, *, actor: Actor = ADMIN, **fields: Any) -> Answer:
        if "/" not in path:
            fields = {"grant_class": "production", "expires_at": YEAR_END, **fields}
        return self.service.create(NewGrant(path=path, **{"owner": "ana@acme.example", **fields}), by(actor))

    def made(self, path: str, **fields: Any) -> Grant:
        return written(self.create(path, **fields))

    def tree(self) -> Tree:
        with self.repository.read() as unit:
            return Tree(unit.load_tree())


def by(actor: Actor = ADMIN, key: str | None = None, reason: str = "because") -> Authorship:
    return Authorship(actor=actor, reason=reason, idempotency_key=key or f"key-{next(_KEYS)}")


def usd(amount: str, period: PeriodKind = "month") -> Limit:
    return Limit("usd", parse_usd(amount), period)


def tokens(amount: int, period: PeriodKind = "month") -> Limit:
    return Limit("tokens", amount, period)


def codes(answer: Answer) -> set[str]:
    """The codes of what was not written; empty if it was."""
    return {problem.code for problem in answer.problems} if isinstance(answer, NotWritten) else set()


def written(answer: Answer) -> Grant:
    assert isinstance(answer, Written), answer
    return answer.grant


def grant(path: str = "acme", parent: Grant | None = None, **fields: Any) -> Grant:
    """A grant that never went through the service."""
    plain = Grant(
        id=f"grant_{path.replace('/', '-')}",
        path=path,
        parent_id=parent.id if parent else None,
        owner="ana@acme.example",
        grant_class="production",
        starts_at=datetime(2026, 1, 1, tzinfo=UTC),
        expires_at=YEAR_END,
    )
    return replace(plain, **fields)
