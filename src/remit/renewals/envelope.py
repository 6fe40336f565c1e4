"""The pre-approved envelope of a boundary: what is decided without a person, because a person decided it ahead."""

from collections.abc import Sequence
from datetime import datetime

from remit.grants.boundary import within_envelope
from remit.grants.model import Envelope, Grant, same_person
from remit.renewals.about import Outlook
from remit.renewals.effects import Effect, RenewGrant, SetLimits
from remit.renewals.model import SYSTEM
from remit.renewals.ports import People, Tickets


def envelope_of(
    above: Sequence[Grant], effect: Effect, shown: Outlook, renewals_in_a_row: int, now: datetime
) -> Grant | None:
    """The nearest grant above whose envelope holds this request; None where a person has to decide.

    The nearest envelope decides alone: a narrower one below a wider one is what its author meant.
    """
    exposure = shown.exposure
    if not isinstance(effect, RenewGrant | SetLimits) or exposure.raised_by is None:
        return None
    found = nearest_envelope(above)
    if found is None:
        return None
    grant, auto = found
    fits = exposure.after is not None and exposure.after <= auto.max_nanousd
    if isinstance(effect, RenewGrant):
        short = within_envelope(auto, effect.expires_at, now)
        fits = fits and short and renewals_in_a_row < auto.max_renewals
    # The worst case a month says nothing of tokens, of requests, or of a limit that another one covers.
    raised = [(exposure.raised_by, exposure.before or 0), *((one.by, one.before) for one in shown.raises)]
    # In whole numbers: raised / before <= percent / 100.
    fits = fits and all(by * 100 <= before * auto.max_increase_percent for by, before in raised)
    return grant if fits else None


def nearest_envelope(above: Sequence[Grant]) -> tuple[Grant, Envelope] | None:
    """The nearest grant above that states an envelope, and that envelope."""
    for grant in reversed(above):
        boundary = grant.delegation.boundary
        if boundary is not None and boundary.auto_approve is not None:
            return grant, boundary.auto_approve
    return None


def author_of(envelope: Grant, requester: str, tickets: Tickets, people: People) -> str | None:
    """Whose word it is: that of whoever wrote it. None where it is nobody's: they left, or it is they who ask."""
    author = tickets.envelope_author(envelope.id)
    gone = author == SYSTEM or not people.is_active(author)
    return None if gone or same_person(author, requester) else author
