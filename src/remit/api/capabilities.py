"""The route that mints capabilities for people."""

from datetime import UTC, timedelta

from litestar import Controller, Response, post
from litestar.params import JSONBody

from remit.api.answers import CapabilityGiven, CapabilityMade
from remit.api.bodies import MintCapability, StrictRequest
from remit.api.params import IdempotencyKey, IfMatch, Injected
from remit.api.problems import PROBLEM_RESPONSES, Refusal
from remit.api.writes import Done, matching_grant, read_terms, write_once
from remit.grants.minting import NewCapability
from remit.grants.model import Problem
from remit.store.postgres_writes import WriteUnit


class Capabilities(Controller):
    """The text of a capability is in the first answer of the write, and nowhere else."""

    path = "/v1/capabilities"
    tags = ["capabilities"]  # noqa: RUF012 - the framework reads it from the class

    @post(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def mint(
        self,
        request: StrictRequest,
        services: Injected,
        data: JSONBody[MintCapability],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[CapabilityMade]:
        """A new capability; `If-Match` is the revision of its grant."""
        terms = read_terms(idempotency_key, if_match)
        actor, possession = request.user, data.possession()

        def do(unit: WriteUnit) -> Done:
            grant = matching_grant(unit, actor, data.grant, terms)
            made = services.capabilities_over(unit.capabilities, unit.grants).mint(
                grant.id,
                actor,
                purpose=data.purpose,
                ttl=None if data.ttl_seconds is None else timedelta(seconds=data.ttl_seconds),
                expires_at=None if data.expires_at is None else data.expires_at.astimezone(UTC),
                narrowing=data.narrowing(),
                possession=possession,
            )
            if isinstance(made, Problem):
                raise Refusal([made])
            given = _given(made)
            kept = CapabilityMade(capability=given, token=None)
            return Done(201, CapabilityMade(capability=given, token=made.token), kept)

        return write_once(services, actor, terms, {"operation": "token mint", **data.asked()}, do)


def _given(made: NewCapability) -> CapabilityGiven:
    block = made.block
    return CapabilityGiven(
        id=block.id,
        grant_id=block.grant_id,
        grant_path=made.grant_path,
        purpose=block.purpose,
        issued_at=block.issued_at,
        issued_by=block.issued_by,
        expires_at=block.not_after,
        bearer=made.is_bearer,
    )
