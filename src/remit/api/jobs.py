"""The jobs that run in the background, and trying one again."""

from typing import Annotated, Any, Literal

from litestar import Response, get, post
from litestar.params import PathParameter, QueryParameter

from remit.api.answers import JobCount, JobGiven, JobPage, JobRetried
from remit.api.bodies import StrictRequest
from remit.api.params import AfterNumber, IdempotencyKey, IfMatch, Injected, PageSize
from remit.api.problems import PROBLEM_RESPONSES, refuse
from remit.api.writes import Done, read_terms, require_no_match, write_once
from remit.grants.roles import may
from remit.store.postgres_writes import WriteUnit

JobId = Annotated[int, PathParameter(ge=1, le=2**63 - 1, description="the job's id")]
InState = Annotated[
    Literal["scheduled", "due", "running", "failed", "done", "cancelled"] | None,
    QueryParameter(description="only jobs in this state"),
]


@get("/v1/jobs", sync_to_thread=True, responses=PROBLEM_RESPONSES, tags=["care"])
def jobs(
    request: StrictRequest, services: Injected, in_state: InState = None, after: AfterNumber = 0, limit: PageSize = 100
) -> JobPage:
    """Jobs, oldest first, and how many of each task are in which state; takes a role for the whole organization."""
    if not may(request.user, "read_jobs"):
        detail = "jobs concern everybody: that takes an admin, an auditor, security or a gateway_operator"
        raise refuse("not_permitted", detail)
    rows = services.jobs.listed([] if in_state is None else [in_state], after, limit)
    return JobPage(
        counts=[JobCount(**row) for row in services.jobs.counts()],
        jobs=[JobGiven(**row) for row in rows],
        next=rows[-1]["id"] if len(rows) == limit else None,
    )


@post("/v1/jobs/{job:int}/retry", status_code=200, sync_to_thread=True, responses=PROBLEM_RESPONSES, tags=["care"])
def retry_failed_job(
    job: JobId,
    request: StrictRequest,
    services: Injected,
    idempotency_key: IdempotencyKey,
    if_match: IfMatch = None,
) -> Response[Any]:
    """Makes a job due again that failed for good; takes an admin or a gateway_operator."""
    terms = read_terms(idempotency_key, if_match)
    require_no_match(terms)

    def retry(unit: WriteUnit) -> Done:
        if not may(request.user, "retry_jobs"):
            raise refuse("not_permitted", "trying a job again takes an admin or a gateway_operator")
        task = unit.retry_job(job)
        if task is None:
            raise refuse("unknown_job", f"there is no job {job} that failed for good")
        given = JobRetried(id=job, task=task)
        return Done(status=200, answer=given, kept=given)

    return write_once(services, request.user, terms, {"operation": "job retry", "job": job}, retry)
