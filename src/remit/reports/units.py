"""What a unit costs: integers, and nothing where there is nothing to divide by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from remit.kernel.money import divide_half_even
from remit.ledger.model import ReportRow
from remit.ledger.ports import LedgerReader
from remit.ledger.service import spend_report

MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCosts:
    """Of one group. `calls_nanousd` is what its calls cost: the charge without what belongs to no call.

    `_ppm` are parts of a million, over what vendors stated: `cache_hit` is input read from a cache over all input, `retry` later
    attempts over calls, `output_per_input` output over all input.
    """

    group: tuple[str | None, ...]
    requests: int
    tokens: int
    calls_nanousd: int
    suspense_nanousd: int
    per_request_nanousd: int | None
    per_1k_tokens_nanousd: int | None
    cache_hit_ppm: int | None
    retry_ppm: int | None
    output_per_input_ppm: int | None


def unit_costs(row: ReportRow) -> UnitCosts:
    """Unit costs of a group's sums."""
    calls = row.amount_nanousd - row.booked_nanousd
    all_input = row.input_tokens + row.cache_read_tokens + row.cache_write_tokens
    return UnitCosts(
        group=row.group,
        requests=row.requests,
        tokens=row.tokens,
        calls_nanousd=calls,
        suspense_nanousd=row.suspense_nanousd,
        per_request_nanousd=over(calls, row.requests),
        per_1k_tokens_nanousd=over(calls * 1000, row.tokens),
        cache_hit_ppm=over(row.cache_read_tokens * MILLION, all_input),
        retry_ppm=over(row.retries * MILLION, row.requests),
        output_per_input_ppm=over(row.output_tokens * MILLION, all_input),
    )


def units_of(
    ledger: LedgerReader,
    by: Sequence[str],
    since: datetime | None = None,
    until: datetime | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
) -> tuple[list[UnitCosts], UnitCosts]:
    """Unit costs by group, the dearest group first, and over all of them. Raises what a report raises."""
    report = spend_report(ledger, by, since, until, only)
    return [unit_costs(row) for row in report.rows], unit_costs(report.total)


def over(numerator: int, denominator: int) -> int | None:
    """The quotient, half to even; None without a divisor, and where what is divided by is below zero."""
    return divide_half_even(numerator, denominator) if denominator > 0 else None
