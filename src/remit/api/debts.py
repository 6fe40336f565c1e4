"""What is owed: debts of the grants one sees."""

from datetime import UTC, datetime
from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from remit.api.answers import Given
from remit.api.bodies import StrictRequest
from remit.api.grants import seen
from remit.api.params import Injected
from remit.api.problems import PROBLEM_RESPONSES


class DebtGiven(Given, frozen=True, kw_only=True):
    """What the limits of one kind of a grant lent, and what became of it, in nano-USD; `since` is null where nothing is owed."""

    grant_id: str
    path: str
    owner: str
    period: str
    made_nanousd: int
    repaid_nanousd: int
    forgiven_nanousd: int
    outstanding_nanousd: int
    since: datetime | None
    period_start: datetime | None


class DebtList(Given, frozen=True, kw_only=True):
    """Debts by path."""

    debts: list[DebtGiven]


@get("/v1/debts", sync_to_thread=True, responses=PROBLEM_RESPONSES, tags=["ledger"])
def debts(
    request: StrictRequest,
    services: Injected,
    settled: Annotated[bool, QueryParameter(description="also debts that are settled")] = False,
) -> DebtList:
    """What overdrafts lent and is still owed."""
    tops = seen(services, request.user).tops()
    ledger = services.ledger if tops is None else services.ledger.of_nodes(tops)
    return DebtList(
        debts=[
            DebtGiven(
                grant_id=debt.grant_id,
                path=debt.path,
                owner=debt.owner,
                period=debt.period,
                made_nanousd=debt.made,
                repaid_nanousd=debt.repaid,
                forgiven_nanousd=debt.forgiven,
                outstanding_nanousd=debt.outstanding,
                since=None if debt.since is None else debt.since.astimezone(UTC),
                period_start=None if debt.period_start is None else debt.period_start.astimezone(UTC),
            )
            for debt in ledger.debts(settled=settled)
        ]
    )
