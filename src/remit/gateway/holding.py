"""From an admission to the hold that has to be taken for it."""

from datetime import datetime

import msgspec

from remit.capabilities.model import Verified
from remit.gateway.answers import Ids
from remit.gateway.decide import Admission
from remit.kernel.ids import new_id
from remit.leases.model import WantedHold
from remit.leases.rules import hold_lines
from remit.leases.terms import chain_of
from remit.providers.openai import sent_service_tier

# Which chains the authority knows, going by holds that were taken; beyond that many they are named once more.
_MAX_KNOWN = 50_000


class KnownChains:
    """The chains whose blocks need not be named to the authority again, by the ids of their last blocks."""

    def __init__(self) -> None:
        self._last_ids: set[str] = set()

    def add(self, verified: Verified) -> None:
        """To be called once a hold was taken that named the chain."""
        if len(self._last_ids) >= _MAX_KNOWN:
            self._last_ids.clear()
        self._last_ids.add(verified.blocks[-1].block_id)

    def __contains__(self, verified: Verified) -> bool:
        return verified.blocks[-1].block_id in self._last_ids


def wanted_hold(
    admission: Admission, ids: Ids, tree_revision: int, now: datetime, expires_at: datetime, *, known: KnownChains
) -> WantedHold:
    """The ceiling on every grant of the path and every block with limits, and what the ledger will want to know."""
    principal, worst = admission.principal, admission.ceiling
    grant = principal.leaf.grant
    lines = hold_lines(
        principal.leaf.terms_with(principal.verified.blocks), usd=worst.nanousd, tokens=worst.tokens, now=now
    )
    return WantedHold(
        id=new_id("hold", now),
        operation_id=ids.operation,
        request_id=ids.request,
        grant_id=grant.leaf.id,
        taken_at=now,
        expires_at=expires_at,
        ceiling_nanousd=worst.nanousd,
        ceiling_tokens=worst.tokens,
        lines=lines,
        chain=None if principal.verified in known else chain_of(principal.verified),
        proof=principal.proof,
        entry={
            "grant_path": grant.leaf.path,
            "node_ids": [node.id for node in grant.nodes],
            "block_ids": list(principal.verified.block_ids),
            "class": grant.grant_class,
            "owner": grant.leaf.owner,
            "tags": admission.tags.tags,
            "tag_conflicts": admission.tags.conflicts or None,
            "vendor": admission.deployment.vendor,
            "deployment": admission.deployment.name,
            "model_requested": admission.request.model,
            "tier": sent_service_tier(admission.request, admission.deployment.clamp),
            # Of the ceiling: what the entry shows if the hold is booked at it. A settled call has lines of its own.
            "price_lines": msgspec.to_builtins(worst.lines),
            "price_source": admission.prices.source,
            "policy_version": tree_revision,
            "decision_id": ids.decision,
            "attempt": ids.attempt,
            **({} if ids.trace is None else {"trace_id": ids.trace}),
        },
    )
