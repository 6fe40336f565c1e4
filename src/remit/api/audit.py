"""The route of the audit: who changed what, and why; and what was refused."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import get
from litestar.params import QueryParameter

from remit.api.answers import Given
from remit.api.bodies import StrictRequest
from remit.api.grants import found, seen
from remit.api.params import AfterNumber, Injected, PageSize, Since, grant_ref, require_offsets
from remit.api.problems import PROBLEM_RESPONSES, refuse
from remit.grants.model import is_within

Outcome = Literal["done", "refused"]


class AuditGiven(Given, frozen=True, kw_only=True):
    """A change with what it was before (null for something new) and after, or a write that was refused, with `problems`."""

    seq: int
    at: datetime
    recorded_at: datetime
    actor: str
    operation: str
    reason: str
    request_key: str
    source: str
    outcome: Outcome
    subject_kind: str | None
    subject_id: str | None
    grant_id: str | None
    path: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    problems: list[dict[str, Any]] | None


class AuditPage(Given, frozen=True, kw_only=True):
    """Rows by number; `next` continues the list as `after`."""

    rows: list[AuditGiven]
    next: int | None


@get("/v1/audit", sync_to_thread=True, responses=PROBLEM_RESPONSES, tags=["audit"])
def read_audit(  # noqa: PLR0917 - one parameter per query parameter
    request: StrictRequest,
    services: Injected,
    under: Annotated[str | None, QueryParameter(description="id or path of a grant; it and what is below it")] = None,
    actor: Annotated[str | None, QueryParameter(description="only what this person did or tried")] = None,
    subject: Annotated[str | None, QueryParameter(description="only what is about the thing of this id")] = None,
    outcome: Annotated[Outcome | None, QueryParameter(description="only what was done, or refused")] = None,
    since: Since = None,
    until: Since = None,
    after: AfterNumber = 0,
    limit: PageSize = 100,
) -> AuditPage:
    """Rows of the audit after a number, oldest first; takes a role that reads the audit, and shows what it reaches."""
    require_offsets(since=since, until=until)
    sight = seen(services, request.user, "read_audit")
    nodes = sight.ids()
    if nodes == []:
        raise refuse("not_permitted", "the audit is for org owners, security and auditors")
    if under is not None:
        top = found(sight, grant_ref(under))
        nodes = [one.id for one in sight.grants() if is_within(one.path, top.path)]
    rows = services.audit.page(
        limit,
        after=after,
        nodes=nodes,
        actor=actor,
        subject=subject,
        outcome=outcome,
        since=since,
        until=until,
    )
    given = [msgspec.convert(row, AuditGiven) for row in rows]
    return AuditPage(rows=given, next=given[-1].seq if len(given) == limit else None)
