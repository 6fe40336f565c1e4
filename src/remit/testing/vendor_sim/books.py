"""The vendor's books: one row for each call it would invoice, in the order the work was finished."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

Outcome = Literal["completed", "aborted", "error_billed"]
"""How a billed call ended: answered in full; generated but not delivered in full; answered with an error."""


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line of the vendor's statement.

    `prompt_tokens` includes `cached_tokens` and `cache_write_tokens`, `completion_tokens` is the sum over all choices
    and includes `reasoning_tokens`. `client_request_id` and `idempotency_key` are the `x-client-request-id` and
    `idempotency-key` headers as they came, `None` where there was none. Instants are UTC, the amount is what is owed.
    """

    sequence: int
    vendor_request_id: str
    client_request_id: str | None
    idempotency_key: str | None
    received_at: datetime
    finished_at: datetime
    requested_model: str
    model: str
    service_tier: str
    prompt_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    amount_nanousd: int
    outcome: Outcome
    status: int | None
    """The HTTP status that was answered, `None` where there was no answer."""


class ModelSummary(msgspec.Struct, kw_only=True):
    """Sums over one model's rows."""

    rows: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    completion_tokens: int = 0
    amount_nanousd: int = 0


class BooksSummary(msgspec.Struct, kw_only=True):
    """What the books add up to. `requests` counts every chat call that arrived, billed or not; `inflight` those running."""

    rows: int
    total_nanousd: int
    requests: int
    inflight: int
    by_model: dict[str, ModelSummary]
    by_outcome: dict[str, int]


class RowsPage(msgspec.Struct, kw_only=True):
    """Rows with a sequence number above the one asked for; ask again with `next_after` until `rows` is empty."""

    rows: Sequence[Row]
    next_after: int


class Books:
    """Rows in memory, numbered from 1 without gaps; nothing changes or removes one."""

    __slots__ = ("requests", "rows", "total_nanousd")

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.requests = 0
        self.total_nanousd = 0

    def add(self, row: Row) -> None:
        assert row.sequence == len(self.rows) + 1 and row.amount_nanousd >= 0
        self.rows.append(row)
        self.total_nanousd += row.amount_nanousd

    def page(self, after: int, limit: int) -> RowsPage:
        rows = self.rows[after : after + limit]
        return RowsPage(rows=rows, next_after=rows[-1].sequence if rows else after)

    def summary(self, inflight: int) -> BooksSummary:
        by_model: dict[str, ModelSummary] = {}
        by_outcome: dict[str, int] = {}
        for row in self.rows:
            model = by_model.setdefault(row.model, ModelSummary())
            model.rows += 1
            model.prompt_tokens += row.prompt_tokens
            model.cached_tokens += row.cached_tokens
            model.cache_write_tokens += row.cache_write_tokens
            model.completion_tokens += row.completion_tokens
            model.amount_nanousd += row.amount_nanousd
            by_outcome[row.outcome] = by_outcome.get(row.outcome, 0) + 1
        return BooksSummary(
            rows=len(self.rows),
            total_nanousd=self.total_nanousd,
            requests=self.requests,
            inflight=inflight,
            by_model=by_model,
            by_outcome=by_outcome,
        )


def statement_csv(rows: Iterable[Row]) -> str:
    """The statement as CSV: a header, then one line for each row; what is not known is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(Row.__struct_fields__)
    for row in rows:
        values = msgspec.structs.astuple(row)
        writer.writerow(value.isoformat() if isinstance(value, datetime) else value for value in values)
    return out.getvalue()
