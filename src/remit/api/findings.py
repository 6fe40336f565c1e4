"""What about the grants one sees deserves a look."""

from datetime import datetime
from typing import Annotated, Any

from litestar import get
from litestar.params import QueryParameter

from remit.api.answers import Given
from remit.api.bodies import StrictRequest
from remit.api.grants import seen
from remit.api.params import Injected
from remit.api.problems import PROBLEM_RESPONSES
from remit.findings.model import FindingCode


class FindingGiven(Given, frozen=True, kw_only=True):
    """One finding; `edit` is a proposal in the form of an edit of the grant."""

    code: FindingCode
    grant_id: str
    path: str
    owner: str
    detail: str
    evidence: dict[str, Any]
    edit: dict[str, Any] | None
    first_seen: datetime | None


class FindingList(Given, frozen=True, kw_only=True):
    """Findings by path and code."""

    findings: list[FindingGiven]


@get("/v1/findings", sync_to_thread=True, responses=PROBLEM_RESPONSES, tags=["care"])
def findings(
    request: StrictRequest,
    services: Injected,
    kind: Annotated[FindingCode | None, QueryParameter(description="only findings of this code")] = None,
) -> FindingList:
    """Findings about the grants one sees."""
    ids = seen(services, request.user).ids()
    sees = None if ids is None else frozenset(ids)
    return FindingList(
        findings=[
            FindingGiven(
                code=one.code,
                grant_id=one.grant_id,
                path=one.path,
                owner=one.owner,
                detail=one.detail,
                evidence=dict(one.evidence),
                edit=None if one.edit is None else dict(one.edit),
                first_seen=one.first_seen,
            )
            for one in services.findings()
            if (sees is None or one.grant_id in sees) and kind in (None, one.code)
        ]
    )
