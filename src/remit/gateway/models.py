"""`GET /v1/models`: what this holder could call now. Free, so whatever is left of the limits does not matter."""

from datetime import datetime

import msgspec

from remit.gateway.decide import Rulebook, models_allowed
from remit.gateway.principal import Principal
from remit.pricing.model import Unpriced


def models_answer(rulebook: Rulebook, principal: Principal, now: datetime) -> bytes:
    """OpenAI's list of models: priced, deployed and allowed ones, by name."""
    priced = {
        (deployment.vendor, name)
        for deployment in rulebook.deployments
        for name in (*rulebook.prices.names(deployment.vendor), *deployment.models)
        if not name.endswith("*") and not isinstance(rulebook.prices.lookup(deployment.vendor, name, now), Unpriced)
    }
    allowed = models_allowed(rulebook, principal, sorted(priced, key=lambda pair: pair[1]))
    data = [{"id": model, "object": "model", "created": 0, "owned_by": vendor} for vendor, model in allowed]
    return msgspec.json.encode({"object": "list", "data": data})
