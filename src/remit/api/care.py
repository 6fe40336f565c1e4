"""How the authority is: health, the doctor's verdict, notifications."""

from dataclasses import asdict

import msgspec
from litestar import get

from remit.api.answers import CheckGiven, GatewayPage, GatewayStateGiven, Health, NotificationPage, Verdict
from remit.api.bodies import StrictRequest
from remit.api.grants import seen
from remit.api.params import AfterNumber, Injected, PageSize
from remit.api.problems import PROBLEM_RESPONSES, problem_responses, refuse
from remit.grants.roles import may
from remit.ledger.service import check_books


@get("/v1/health", sync_to_thread=True, exclude_from_auth=True, responses=problem_responses(400, 503), tags=["care"])
def health(services: Injected) -> Health:
    """Whether the authority and its database answer."""
    # Anybody may ask this, so it costs no connection of its own.
    with services.connections.use() as connection:
        connection.execute("SELECT 1")
    return Health(status="ok")


@get("/v1/doctor", sync_to_thread=True, responses=PROBLEM_RESPONSES, tags=["care"])
def doctor(request: StrictRequest, services: Injected) -> Verdict:
    """Runs every check of the books, of the audit, of the seals and of the jobs; takes a role for the whole organization."""
    if not may(request.user, "run_doctor"):
        detail = "the doctor looks at all books: that takes an admin, an auditor, security or a gateway_operator"
        raise refuse("not_permitted", detail)
    checks = [
        CheckGiven(
            name=check.name,
            title=check.title,
            examined=check.examined,
            differences=[msgspec.to_builtins(asdict(difference)) for difference in check.differences],
        )
        for check in (
            *check_books(services.ledger),
            services.audit.check(),
            services.check_seals(),
            services.jobs.check(),
        )
    ]
    return Verdict(agree=not any(check.differences for check in checks), checks=checks)


@get("/v1/gateways", sync_to_thread=True, responses=PROBLEM_RESPONSES, tags=["care"])
def gateways(request: StrictRequest, services: Injected) -> GatewayPage:
    """The gateways that have said which state of the tree they go by, and when; takes a role for the whole organization."""
    if not may(request.user, "read_gateways"):
        detail = "gateways serve everybody: that takes an admin, an auditor, security or a gateway_operator"
        raise refuse("not_permitted", detail)
    states = services.reach.gateways()
    return GatewayPage(
        gateways=[
            GatewayStateGiven(
                name=one.name, tree_revision=one.acknowledged_revision, gone=one.is_gone, seen_at=one.seen_at
            )
            for one in states
        ]
    )


@get("/v1/notifications", sync_to_thread=True, responses=PROBLEM_RESPONSES, tags=["care"])
def notifications(
    request: StrictRequest, services: Injected, after: AfterNumber = 0, limit: PageSize = 100
) -> NotificationPage:
    """Pages and reports about the grants one sees, oldest first."""
    page = services.notifications.page(after, limit, seen(services, request.user, "read_notifications").ids())
    return NotificationPage(notifications=page, next=page[-1]["id"] if len(page) == limit else None)
