"""What reconciliation needs of the outside."""

from collections.abc import Iterator
from typing import Any, Protocol

from remit.grants.model import Problem
from remit.reconcile.model import Imported
from remit.reconcile.statements.model import Options
from remit.reconcile.statements.raw import Raw


class StatementStore(Protocol):
    """Where statements are kept, each with its lines and its bytes."""

    def take_in(self, raw: Raw, source: str, options: Options, *, by: str, reason: str, key: str) -> Imported | Problem:
        """Reads a statement and keeps it, all or nothing. Raises StatementError for bytes that cannot be understood."""
        ...

    def withdraw(self, statement_id: str, *, by: str, reason: str, key: str) -> dict[str, Any] | Problem:
        """Nothing is compared with it any more; the statement as it is then. It is kept, with its lines and its bytes."""
        ...

    def listed(self, **wanted: Any) -> list[dict[str, Any]]:
        """Statements without their lines, the newest first."""
        ...

    def find(self, statement_id: str) -> dict[str, Any] | None:
        """The statement of that id."""
        ...

    def lines(self, statement_id: str, after: int, count: int) -> list[dict[str, Any]]:
        """Lines after a number, in the order of the raw file."""
        ...

    def raw(self, statement_id: str) -> Iterator[bytes] | None:
        """The bytes as they came."""
        ...
