"""How the authority is: health, the doctor's verdict, notifications."""

from dataclasses import asdict

import msgspec
from litestar import get

from remit.api.answers import CheckGiven, Health, NotificationPage, Verdict
from remit.api.bodies import StrictRequest
from remit.api.grants import seen
from remit.api.params import AfterNumber, Injected, PageSize
from remit.api.problems import PROBLEM_RESPONSES, refuse
from remit.ledger.service import check_books


@get("/v1/health", sync_to_thread=True, exclude_from_auth=True, tags=["care"], security=[])
def health(services: Injected) -> Health:
    """Whether the authority and its database answer."""
    services.ledger.require_answer()
    return Health(status="ok")


@get("/v1/doctor", sync_to_thread=True, responses=PROBLEM_RESPONSES, tags=["care"])
def doctor(request: StrictRequest, services: Injected) -> Verdict:
    """Runs every check of the books; for admins."""
    if not request.user.is_admin:
        raise refuse("not_permitted", "the doctor looks at all books: that takes an admin")
    checks = [
        CheckGiven(
            name=check.name,
            title=check.title,
            examined=check.examined,
            differences=[msgspec.to_builtins(asdict(difference)) for difference in check.differences],
        )
        for check in check_books(services.ledger)
    ]
    return Verdict(agree=not any(check.differences for check in checks), checks=checks)


@get("/v1/notifications", sync_to_thread=True, responses=PROBLEM_RESPONSES, tags=["care"])
def notifications(
    request: StrictRequest, services: Injected, after: AfterNumber = 0, limit: PageSize = 100
) -> NotificationPage:
    """Pages and reports about the grants one sees, oldest first."""
    page = services.notifications.page(after, limit, seen(services, request.user).ids())
    return NotificationPage(notifications=page, next=page[-1]["id"] if len(page) == limit else None)
