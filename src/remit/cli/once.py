"""Writes of keys and people: done once under an idempotency key, and remembered with who and why."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from remit.bootstrap import Authority
    from remit.cli.options import By
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered
    from remit.store.postgres_writes import WriteUnit

_T = TypeVar("_T")


def write_once(
    authority: "Authority",
    by: "By | None",
    operation: str,
    asked: Mapping[str, Any],
    do: "Callable[[WriteUnit], tuple[_T, Mapping[str, Any]] | Problem]",
) -> "_T | Remembered | Problem":
    """Carries out a write, or answers the first one under its key; see `PostgresWrites.once`."""
    from remit.cli.options import By
    from remit.grants.service import authorship_problems

    authorship = (by or By()).authorship(f"remit {operation}")
    for problem in authorship_problems(authorship):
        return problem
    body = {"operation": operation, **asked, "reason": authorship.reason, "actor": authorship.actor.name}
    return authority.writes.once(authorship.idempotency_key, body, do)
