"""The product and the second verifier side by side: one answer, down to every effective field."""

from datetime import UTC, datetime, timedelta
from typing import Any

from remit.capabilities.model import CapabilityProblem, Verified, issuer_key_ring
from remit.capabilities.reading import inspect
from remit.capabilities.rules import verify
from tests.capabilities import reference_verifier
from tests.capabilities.vectors import AUDIENCE, CUT_OFF_KEY, KEY, NOW

RING = issuer_key_ring([KEY, CUT_OFF_KEY])
REFERENCE_KEYS = {kid: (key.public_key, key.min_issued_at) for kid, key in RING.items()}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MODELS = ("gpt-5.2", "gpt-5.2-mini", "gpt-4", "claude-5", "meta/x", "a", "z")
SURFACES = ("models", "openai.chat", "openai.embeddings", "z")


def authority_in(answer: Verified | CapabilityProblem) -> Verified | None:
    """What is authorised, or would be with a proof."""
    return answer if isinstance(answer, Verified) else answer.unproven


def agree(text: str, now: int = NOW) -> str:
    """Both verifiers' common result; where there is an authority, every effective field of it was the same."""
    mine = verify(text, RING, AUDIENCE, EPOCH + timedelta(seconds=now))
    theirs, content = reference_verifier.verify(text, REFERENCE_KEYS, AUDIENCE, now)
    assert (mine.code if isinstance(mine, CapabilityProblem) else "valid") == theirs
    authority = authority_in(mine)
    assert (authority is None) == (content is None)
    if authority is not None and content is not None:
        same_authority(authority, content)
        assert inspect(text) == authority
    return theirs


def same_authority(mine: Verified, content: dict[str, Any]) -> None:
    """Fails where a field of the authority is not what the second verifier has found."""
    assert (mine.kid, mine.grant, mine.epoch) == (content["kid"], content["grant"], content["epoch"])
    assert list(mine.block_ids) == content["block_ids"]
    same_effect(mine, content)


def same_effect(mine: Verified, effect: dict[str, Any]) -> None:
    """The same for the effective fields, as the second verifier and the published vectors state them."""
    assert (mine.not_before, mine.not_after) == (effect["not_before"], effect["not_after"])
    assert dict(mine.labels) == effect["labels"]
    assert {one.kind: one.value for one in mine.confirmations} == effect["confirmations"]
    assert len(mine.confirmations) == len(effect["confirmations"])
    assert effect["delegate"] == {
        "max_depth": mine.delegate.max_depth,
        "max_children": mine.delegate.max_children,
        "max_ttl": mine.delegate.max_ttl_seconds,
    }
    limits = [
        [
            {"dimension": one.dimension, "amount": one.amount, "unit": one.unit, "period": one.period}
            for one in each.limits
        ]
        for each in mine.blocks
    ]
    assert limits == effect["limits"]
    listed = {one for each in mine.blocks for one in each.models or ()}
    for model in {*MODELS, *(one.rstrip("*") + "q" for one in listed), *(one.rstrip("*") or "q" for one in listed)}:
        patterns = effect["models"]
        allowed = patterns is None or any(reference_verifier.covers(one, model) for one in patterns)
        assert mine.allows_model(model) is allowed, model
    for surface in {*SURFACES, *(one for each in mine.blocks for one in each.surfaces or ())}:
        assert mine.allows_surface(surface) is (effect["surfaces"] is None or surface in effect["surfaces"]), surface
