"""Comparing a vendor's month, and closing months: what the routes and the command line share."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import msgspec

from remit.grants.model import Problem
from remit.grants.service import Authorship
from remit.grants.tree import Tree
from remit.kernel.clock import Clock
from remit.ledger.months import Bill, Closed, ToDecide, Waiver, month_text
from remit.pricing.book import PriceBook
from remit.reconcile.comparison import Reconciliation
from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import Tolerance
from remit.reconcile.matching.from_facts import NOT_COUNTED
from remit.reconcile.matching.match import Settings
from remit.reconcile.matching.registry import Registered, Registry
from remit.reconcile.matching.suspense import Resolution
from remit.reconcile.other_months import LATE_BOOKING
from remit.reconcile.service import Compared, ComparingError, Given, compare, takes_back
from remit.renewals import requests
from remit.renewals.model import Source
from remit.renewals.service import Asked
from remit.store.archived_seals import OpensArchive, no_archive
from remit.store.authored import Source as Door
from remit.store.connect import Opens
from remit.store.postgres_books import PostgresBooks
from remit.store.postgres_care import PostgresCare
from remit.store.postgres_comparing import open_month
from remit.store.postgres_grants import TreeUnit
from remit.store.postgres_months import PostgresMonths

_NAMED: Final = 20
AUTOMATIC: Final = "remit"
"""Who books what is within the tolerance for booking by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileTerms:
    """What months are compared with, as set.

    `unassigned` is the path of the grant that bears what no grant explains; None takes the only root there is. Proposals are booked
    without a ticket as long as these come to at most `auto_post_nanousd` for a vendor's month, signs left out. Waivers
    that come to at most `waive_nanousd` in all are one person's.
    """

    registered: Sequence[Registered] = ()
    prices: PriceBook | None = None
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    unassigned: str | None = None
    auto_post_nanousd: int = 0
    waive_nanousd: int = 0


class Reconciling:
    """Over a database: reads with the reader's role, writes with the authority's."""

    def __init__(  # noqa: PLR0917 - what it stands on
        self,
        url: str,
        opens: Opens,
        clock: Clock,
        terms: ReconcileTerms,
        source: Door,
        archive: OpensArchive = no_archive,
    ) -> None:
        self._archive = archive
        self._url = url
        self._opens = opens
        self._clock = clock
        self._terms = terms
        self._source = source
        self.books = PostgresBooks(opens, clock, source)
        self.months = PostgresMonths(opens, clock)

    def compared(
        self, month: date, vendor: str, bills: Sequence[Bill], statements: Sequence[str], accepted: Collection[str] = ()
    ) -> Compared | Problem:
        """A vendor's month as it is now; nothing is kept. Codes: unassigned_unknown, not_comparable, cause_unknown, vendor_unknown."""
        for cause in accepted:
            if cause not in {*(one.value for one in Cause), LATE_BOOKING}:
                return Problem(
                    code="cause_unknown", path=cause[:60], detail=f"`{cause[:60]}` is no cause of a difference"
                )
        withdraws = not bills and self._was_billed(month, vendor)
        problem = None if withdraws else self._vendor_problem(vendor)
        unassigned = problem or self._unassigned()
        if isinstance(unassigned, Problem):
            return unassigned
        deployments = {one.deployment: one for one in self._terms.registered if one.vendor == vendor}
        known = [one for one in deployments.values() if one.account or one.project or one.key_id]
        settings = Settings(
            month=month,
            registry=Registry(known),
            prices=self._terms.prices,
            tolerances=self._terms.tolerances,
        )
        given = Given(
            unassigned_grant_id=unassigned,
            bills=bills,
            statements=statements,
            accepted=accepted,
            withdraws=withdraws,
        )
        with open_month(self._url, month, vendor, deployments, self._archive) as reader:
            try:
                return compare(reader, vendor, settings, given)
            except ComparingError as error:
                return Problem(code="not_comparable", path=f"{vendor} {month_text(month)}", detail=str(error))

    def match(  # noqa: PLR0917 - as above
        self,
        month: date,
        vendor: str,
        bills: Sequence[Bill],
        statements: Sequence[str],
        by: Authorship,
        accepted: Collection[str] = (),
    ) -> Reconciliation | Problem:
        """Compares, and keeps what came of it, once for each key.

        Codes: those of `compared`; conflict_different_* (another comparison was asked for under the key); less_than_before.
        """
        asked = {
            "month": month_text(month),
            "vendor": vendor,
            "bills": list(bills),
            "statements": list(statements),
            "accepted": sorted(accepted),
            "by": by.actor.name,
        }
        repeated = self.books.repeated(by.idempotency_key, asked)
        if repeated is not None:
            return repeated
        found = self.compared(month, vendor, bills, statements, accepted)
        if isinstance(found, Problem):
            return found
        problem = self._less_than_before(found, month, vendor)
        if problem is not None:
            return problem
        return self.books.keep(found.comparison, asked, by=by.actor.name, reason=by.reason, key=by.idempotency_key)

    def _was_billed(self, month: date, vendor: str) -> bool:
        """Whether the newest comparison of a vendor's month has bills: the month would be closed with them."""
        return any(one.bills for one in self.books.listed(month, vendor)[:1])

    def _vendor_problem(self, vendor: str) -> Problem | None:
        """A mistyped vendor has bills and owes nothing: its month could not be closed, or only with it in the signed books."""
        known = {one.vendor for one in self._terms.registered} | self.books.vendors()
        if vendor in known:
            return None
        listed = sorted(known)
        names = ", ".join(listed[:_NAMED]) + (f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else "")
        detail = f"`{vendor[:60]}` is no vendor of the settings, the ledger or a statement; known are {names or 'none'}"
        return Problem(code="vendor_unknown", path=vendor[:60], detail=detail)

    def _less_than_before(self, found: Compared, month: date, vendor: str) -> Problem | None:
        """What was booked with a bill or a statement is not taken back because these are left out."""
        if not any(takes_back(one) for one in found.comparison.adjustments):
            return None
        for one in self.books.posted(month, vendor):
            missing = sorted(set(one.sources) - found.sources)
            if one.had_bills and not found.comparison.bills:
                missing.append("a bill")
            if missing:
                detail = (
                    f"{one.id}, which was booked, was compared with {' and '.join(missing)} besides: without it, this would take"
                    " back what is right"
                )
                return Problem(code="less_than_before", path=f"{vendor} {month_text(month)}", detail=detail)
        return None

    def resolve(self, resolutions: Sequence[Resolution], by: Authorship) -> int:
        """Books what statements say that calls in suspense cost; answers how many were corrected. Done again it corrects none."""
        rows = [_evidence(one) for one in resolutions]
        if not rows:
            return 0
        done = PostgresCare(self._url, self._clock).apply_evidence(
            rows, by=by.actor.name, reason=by.reason, source=self._source
        )
        return done.count("corrected")

    def books_itself(self, found: Reconciliation) -> bool:
        """Whether what a comparison proposes is small and known enough to be booked without a person.

        That is so as long as all that was booked that way for the month and vendor, signs left out, is within the limit, nothing
        is left to look into, and nothing that was booked before is changed.
        """
        limit = self._terms.auto_post_nanousd
        if limit <= 0 or found.withdrawn or not found.entries or found.posted_at is not None or found.changes_booked:
            return False
        if any(one.outcome == "look" and one.amount_nanousd for one in self.books.drift(found.id)):
            return False
        before = [one.moved_nanousd for one in self.books.posted(found.month, found.vendor) if one.by == AUTOMATIC]
        return sum(before) + found.moved_nanousd <= limit

    def post_itself(self, found: Reconciliation) -> Sequence[str] | Problem:
        """Books it as the rule that was set."""
        return self.books.post_proposed(
            found.id,
            found.digest,
            by=AUTOMATIC,
            reason="within what is booked without a ticket",
            key=f"auto:{found.id}",
        )

    def asked_to_post(self, tree: Tree, found: Reconciliation, source: Source) -> Asked | Problem:
        """The ticket that books a proposal when somebody else of finance approves it."""
        if found.posted_at is not None:
            return Problem(code="already_posted", path=found.id, detail=f"{found.id} was booked by `{found.posted_by}`")
        grant = self._unassigned_in(tree)
        if isinstance(grant, Problem):
            return grant
        return requests.post_adjustments(
            tree,
            grant,
            found.id,
            found.vendor,
            found.month,
            found.proposed_nanousd,
            found.entries,
            found.digest,
            source,
        )

    def asked_to_reopen(self, tree: Tree, month: date, source: Source) -> Asked | Problem:
        """The ticket that opens a month again."""
        grant = self._unassigned_in(tree)
        return grant if isinstance(grant, Problem) else requests.reopen_month(tree, grant, month, source)

    def bills_of(self, month: date) -> list[Bill]:
        """What vendors billed for a month, by the newest comparison of each."""
        return self.books.bills_of(month)

    def close(self, month: date, waived: Sequence[Waiver], by: Authorship) -> Closed | ToDecide | Problem:
        """Closes a month with the bills of its newest comparisons; or what somebody else has to agree to first."""
        return self.months.close(
            month,
            self.bills_of(month),
            waived,
            by.actor.name,
            by.reason,
            by.idempotency_key,
            self._source,
            alone_nanousd=self._terms.waive_nanousd,
        )

    def asked_to_close(self, tree: Tree, wanted: ToDecide | Problem, source: Source) -> Asked | Problem:
        """The ticket that closes a month although something does not hold; `wanted` is what `close` answered."""
        if isinstance(wanted, Problem):
            return wanted
        grant = self._unassigned_in(tree)
        return grant if isinstance(grant, Problem) else requests.close_month(tree, grant, wanted, source)

    def _unassigned(self) -> str | Problem:
        with self._opens() as connection:
            tree = Tree(TreeUnit(connection).load_tree())
        found = self._unassigned_in(tree)
        if isinstance(found, Problem):
            return found
        return tree[found].id

    def _unassigned_in(self, tree: Tree) -> str | Problem:
        """The id of the grant that bears what no grant explains."""
        wanted = self._terms.unassigned
        if wanted is not None:
            grant = tree.find(wanted)
            if grant is not None:
                return grant.id
            detail = f"there is no grant `{wanted}`, which `reconcile.unassigned` names"
            return Problem(code="unassigned_unknown", path=wanted, detail=detail)
        roots = [grant for grant in tree if grant.parent_id is None]
        if len(roots) == 1:
            return roots[0].id
        detail = f"there are {len(roots)} grants at the top: set `reconcile.unassigned` to the one that bears what none explains"
        return Problem(code="unassigned_unknown", path="", detail=detail)


def to_be_asked(answer: Closed | ToDecide | Problem, waived: Sequence[Waiver]) -> ToDecide | Problem | None:
    """What somebody else is, or was, to be asked of closing a month; None where the answer stands by itself.

    A month that is closed may be closed by the ticket that was asked for under the same key, which that write knows.
    """
    if isinstance(answer, Problem):
        return answer if waived and answer.code == "month_already_closed" else None
    return answer if isinstance(answer, ToDecide) else None


def _evidence(one: Resolution) -> dict[str, Any]:
    usage = None if one.usage is None else msgspec.to_builtins(one.usage)
    note = f"by the vendor's statement ({one.how})"
    return {
        "hold_id": one.hold_id,
        "usd": one.usd_nanousd,
        "tokens": one.tokens,
        "entry": {
            "usage": usage,
            "usage_source": "vendor" if one.how != "share" else "estimated",
            "note": note if one.is_counted else f"{note}, {NOT_COUNTED}",
        },
    }
