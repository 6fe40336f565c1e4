"""The pre-approved envelope of a boundary: what is decided without a person, because a person decided it ahead."""

from collections.abc import Sequence
from datetime import datetime

from remit.grants.boundary import within_envelope
from remit.grants.model import Grant
from remit.renewals.effects import Effect, RenewGrant, SetLimits
from remit.renewals.exposure import Exposure


def envelope_of(
    above: Sequence[Grant], effect: Effect, exposure: Exposure, renewals_in_a_row: int, now: datetime
) -> Grant | None:
    """The nearest grant above whose envelope holds this request; None where a person has to decide.

    The nearest envelope decides alone: a narrower one below a wider one is what its author meant.
    """
    if not isinstance(effect, RenewGrant | SetLimits) or exposure.raised_by is None:
        return None
    for grant in reversed(above):
        boundary = grant.delegation.boundary
        auto = None if boundary is None else boundary.auto_approve
        if auto is None:
            continue
        fits = exposure.after is not None and exposure.after <= auto.max_nanousd
        if isinstance(effect, RenewGrant):
            short = within_envelope(auto, effect.expires_at, now)
            fits = fits and short and renewals_in_a_row < auto.max_renewals
        # In whole numbers: raised / before <= percent / 100.
        return (
            grant if fits and exposure.raised_by * 100 <= (exposure.before or 0) * auto.max_increase_percent else None
        )
    return None
