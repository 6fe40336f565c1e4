"""Which renewals are asked for by nobody and granted ahead: those that a grant, and an envelope above it, both state.

`renewal.auto_tier` of the grant says up to which tier, the envelope of the nearest boundary above how often in a row, how long
and how large. Both were written by somebody who stands above. What is not clearly inside waits for a person.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from remit.grants.edits import GrantEdit
from remit.grants.model import Actor, Grant
from remit.grants.service import GrantService
from remit.grants.tree import Tree
from remit.renewals.about import Outlook
from remit.renewals.effects import RenewGrant
from remit.renewals.envelope import author_of, envelope_of, nearest_envelope
from remit.renewals.exposure import Exposure, monthly_exposure
from remit.renewals.model import SYSTEM, Policy, Use
from remit.renewals.ports import People, Tickets
from remit.renewals.service import tier_of
from remit.renewals.windows import overspends, renewal_window

_RANK: Final = {"small": 0, "standard": 1, "large": 2}


class AutomaticRenewals:
    """Over parts that are bound to one open transaction. Writes nothing."""

    def __init__(self, tickets: Tickets, people: People, grants: GrantService, policy: Policy) -> None:
        self._tickets = tickets
        self._people = people
        self._grants = grants
        self._policy = policy

    def due(self, tree: Tree, grant: Grant, use: Sequence[Use], now: datetime) -> RenewGrant | None:
        """The renewal of a grant whose window is open; None where a person has to ask for it.

        So it is for a grant whose owner left or that spends faster than its time passes, where whoever wrote the envelope
        left, and where the owner of the boundary could not hand out as much by themselves now.
        """
        tier = grant.renewal.auto_tier
        if tier not in _RANK or not self._people.is_active(grant.owner) or any(overspends(one, now) for one in use):
            return None
        above = tree.ancestors(grant)
        effect = self._effect(grant, above, now)
        if effect is None:
            return None
        worst = monthly_exposure(tree.path_to(grant))
        exposure = Exposure(worst, worst)
        in_a_row = self._tickets.renewals_in_a_row(grant.id)
        envelope = envelope_of(above, effect, Outlook(exposure, ()), in_a_row, now)
        if envelope is None or _RANK[tier] < _RANK[tier_of(self._policy, effect, exposure)]:
            return None
        if author_of(envelope, SYSTEM, self._tickets, self._people) is None:
            return None
        edit = GrantEdit(expires_at=effect.expires_at)
        return None if self._grants.problems_of(grant.id, edit, Actor(envelope.owner)) else effect

    def _effect(self, grant: Grant, above: Sequence[Grant], now: datetime) -> RenewGrant | None:
        """As long again as its life, no longer than the envelope and what stands above allow, and out of its window then."""
        found = nearest_envelope(above)
        if found is None:
            return None
        _, auto = found
        until = min(
            grant.expires_at + (grant.expires_at - grant.starts_at),
            now + timedelta(days=auto.max_term_days),
            *(one.expires_at for one in above),
        )
        renewed = renewal_window(grant, (), now, until=until)
        return (
            None
            if until <= grant.expires_at or renewed.is_open(now)
            else RenewGrant(grant_id=grant.id, expires_at=until)
        )
