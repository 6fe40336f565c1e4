"""Dead letters: what did not reach a channel, and trying it again."""

from typing import Annotated, Any

from litestar import Response, get, post
from litestar.params import PathParameter

from remit.api.answers import DeadLetter, DeadLetterPage, RetriedGiven
from remit.api.bodies import StrictRequest
from remit.api.params import AfterNumber, IdempotencyKey, IfMatch, Injected, PageSize
from remit.api.problems import PROBLEM_RESPONSES, refuse
from remit.api.writes import Done, read_terms, require_no_match, write_once
from remit.store.postgres_writes import WriteUnit

NotificationId = Annotated[int, PathParameter(ge=1, le=2**63 - 1, description="the notification's id")]


@get("/v1/notifications/dead", sync_to_thread=True, responses=PROBLEM_RESPONSES, tags=["care"])
def dead_letters(
    request: StrictRequest, services: Injected, after: AfterNumber = 0, limit: PageSize = 100
) -> DeadLetterPage:
    """Notifications that did not reach a channel, with the reason; for admins."""
    if not request.user.is_admin:
        raise refuse("not_permitted", "dead letters say how channels are set up: that takes an admin")
    rows = services.deliveries.dead(after, limit)
    dead = [DeadLetter(**row) for row in rows]
    return DeadLetterPage(dead=dead, next=dead[-1].id if len(dead) >= limit else None)


@post(
    "/v1/notifications/{notification:int}/retry",
    status_code=200,
    sync_to_thread=True,
    responses=PROBLEM_RESPONSES,
    tags=["care"],
)
def retry_dead_letter(
    notification: NotificationId,
    request: StrictRequest,
    services: Injected,
    idempotency_key: IdempotencyKey,
    if_match: IfMatch = None,
) -> Response[Any]:
    """Makes the dead letters of a notification due again; for admins."""
    terms = read_terms(idempotency_key, if_match)
    require_no_match(terms)

    def retry(unit: WriteUnit) -> Done:
        if not request.user.is_admin:
            raise refuse("not_permitted", "trying a dead letter again takes an admin")
        channels = unit.retry_delivery(notification, services.clock.now())
        if not channels:
            raise refuse("unknown_dead_letter", f"notification {notification} is dead in no channel")
        given = RetriedGiven(id=notification, channels=channels)
        return Done(status=200, answer=given, kept=given)

    return write_once(
        services, request.user, terms, {"operation": "notification retry", "notification": notification}, retry
    )
