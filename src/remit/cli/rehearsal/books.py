"""The verdict: the vendor's books against the ledger, hold by hold, and every bucket against its limit."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from remit.bootstrap import Authority
from remit.cli.rehearsal.requests import DIRECT
from remit.ledger.model import ReportRow
from remit.ledger.service import check_books, spend_report
from remit.store.postgres_watch import BucketState, PostgresWatch
from remit.testing.vendor_sim import Row, VendorProcess

_WAIT_SECONDS: Final = 90.0
_MAX_NAMED: Final = 10


class StillOpenError(Exception):
    """Holds stayed open, or calls stayed under way at the vendor, for longer than they may."""


@dataclass(slots=True)
class Excess:
    """The most any bucket was ever seen beyond its limit, by dimension; 0 where every cap held at every look."""

    usd: int = 0
    tokens: int = 0
    requests: int = 0
    looks: int = 0

    def look(self, buckets: Iterable[BucketState]) -> None:
        """Takes one look at all buckets."""
        self.looks += 1
        for bucket in buckets:
            setattr(self, bucket.dimension, max(getattr(self, bucket.dimension), bucket.excess))

    @property
    def any(self) -> bool:
        return self.usd > 0 or self.tokens > 0 or self.requests > 0


@dataclass(slots=True)
class Verdict:
    """Amounts in nano-USD. `vendor` leaves out what was billed for direct calls; `difference` is ledger less vendor."""

    vendor_nanousd: int
    vendor_rows: int
    direct_nanousd: int
    direct_rows: int
    ledger_nanousd: int
    suspense_calls: int
    suspense_nanousd: int
    corrected_nanousd: int
    overspend: Excess
    spend_by_team: tuple[ReportRow, ...]
    buckets: list[BucketState]
    overdraft_nanousd: int
    holds: int
    holds_that_differ: list[str] = field(default_factory=list)
    doctor: list[str] = field(default_factory=list)

    @property
    def difference_nanousd(self) -> int:
        return self.ledger_nanousd - self.vendor_nanousd

    @property
    def agrees(self) -> bool:
        """Whether nothing is wrong: no difference in sum or in any one hold, no overspend, nothing for the doctor."""
        found = self.difference_nanousd or self.holds_that_differ or self.overspend.any or self.doctor
        return not found


def judge(authority: Authority, vendor: VendorProcess, watch: PostgresWatch, seen: Excess) -> Verdict:
    """Waits until nothing is under way, settles what is in suspense by the vendor's statement, and compares.

    Raises StillOpenError.
    """
    _wait_until_quiet(authority, vendor)
    rows = vendor.rows()
    ours = [row for row in rows if row.client_request_id != DIRECT]
    billed = _by_hold(ours)
    suspense = authority.ledger.unresolved_suspense()
    if suspense:
        authority.care.apply_evidence([_evidence(item["hold_id"], billed) for item in suspense])
    booked = watch.spend_by_hold()
    buckets = watch.buckets()
    seen.look(buckets)
    total = sum(booked.values())
    differ = sorted(
        hold for hold in booked.keys() | billed.keys() if booked.get(hold, 0) != _amount(billed.get(hold, ()))
    )
    at_first = sum(int(item["amount_nanousd"]) for item in suspense)
    return Verdict(
        vendor_nanousd=sum(row.amount_nanousd for row in ours),
        vendor_rows=len(ours),
        direct_nanousd=sum(row.amount_nanousd for row in rows) - sum(row.amount_nanousd for row in ours),
        direct_rows=len(rows) - len(ours),
        ledger_nanousd=total,
        suspense_calls=len(suspense),
        suspense_nanousd=at_first,
        corrected_nanousd=sum(booked.get(item["hold_id"], 0) for item in suspense) - at_first,
        overspend=seen,
        spend_by_team=spend_report(authority.ledger, ("team", "class")).rows,
        buckets=buckets,
        overdraft_nanousd=sum(bucket.overdraft_used for bucket in buckets if bucket.dimension == "usd"),
        holds=authority.ledger.counts()["holds"],
        holds_that_differ=differ[:_MAX_NAMED],
        doctor=[
            f"{found.check}: {found.subject}: expected {found.expected}, found {found.found}"
            for check in [*check_books(authority.ledger), authority.audit.check()]
            for found in check.differences
        ][:_MAX_NAMED],
    )


def _wait_until_quiet(authority: Authority, vendor: VendorProcess) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while (inflight := vendor.inflight()) or (open_holds := authority.ledger.counts()["open_holds"]):
        if time.monotonic() > deadline:
            what = f"{inflight} calls are under way at the vendor" if inflight else f"{open_holds} holds are open"
            raise StillOpenError(f"{what} {_WAIT_SECONDS:.0f} seconds after the last answer")
        time.sleep(0.1)


def _by_hold(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by the hold they were sent under; a row without one is a call that no hold covers."""
    billed: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        billed[row.idempotency_key or f"no hold: {row.vendor_request_id}"].append(row)
    return dict(billed)


def _amount(rows: Sequence[Row]) -> int:
    return sum(row.amount_nanousd for row in rows)


def _evidence(hold_id: str, billed: dict[str, list[Row]]) -> dict[str, Any]:
    """What the statement says about a hold; where it has no line, the call cost nothing."""
    rows = billed.get(hold_id, [])
    entry: dict[str, Any] = {"usage_source": "recovered", "note": "by the vendor's statement"}
    if rows:
        entry |= {"model_served": rows[0].model, "vendor_request_id": rows[0].vendor_request_id}
    tokens = sum(row.prompt_tokens + row.completion_tokens for row in rows)
    return {"hold_id": hold_id, "usd": _amount(rows), "tokens": tokens, "entry": entry}
