"""The routes of access keys."""

import re
from datetime import UTC
from typing import Annotated

from litestar import Controller, Response, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter

from remit.api.answers import KeyGiven, KeyMade, KeyPage, key_given
from remit.api.bodies import CreateKey, StrictRequest, Why
from remit.api.grants import found, seen
from remit.api.params import IdempotencyKey, IfMatch, Injected, PageSize, grant_ref
from remit.api.problems import PROBLEM_RESPONSES, Refusal
from remit.api.sight import Sight
from remit.api.writes import Done, authorship, matching_grant, read_terms, require_no_match, write_once
from remit.grants.keys import NewKey
from remit.grants.model import Actor, Grant, Problem
from remit.kernel.secret_texts import public_id
from remit.store.postgres_writes import WriteUnit

KeyId = Annotated[str, PathParameter(description="the 12 characters between `rk_` and the secret")]
MaybeWhy = JSONBody[Why | None]
_NO_REASON = "no reason was given"
_KEY_ID = re.compile(r"[0-9a-z]{12}")


class Keys(Controller):
    """Secrets are in the first answer of a write, and nowhere else."""

    path = "/v1/keys"
    tags = ["keys"]  # noqa: RUF012 - the framework reads it from the class

    @get(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def list_keys(
        self,
        request: StrictRequest,
        services: Injected,
        grant: Annotated[str | None, QueryParameter(description="id or path; only the keys of this grant")] = None,
        after: Annotated[str | None, QueryParameter(description="id of the last key of the page before")] = None,
        limit: PageSize = 100,
    ) -> KeyPage:
        """The access keys of the grants one sees."""
        sight = seen(services, request.user, "read_keys")
        one = None if grant is None else found(sight, grant_ref(grant))
        seen_ids = sight.ids()
        visible = None if seen_ids is None else set(seen_ids)
        rows = services.key_list.list(None if one is None else one.id)
        rows = [row for row in rows if visible is None or row["grant_id"] in visible]
        rows.sort(key=lambda row: row["id"])
        rows = [row for row in rows if after is None or row["id"] > after]
        page = [
            KeyGiven(
                id=row["id"],
                grant_id=row["grant_id"],
                grant_path=row["path"],
                name=row["name"],
                created_at=row["created_at"],
                created_by=row["created_by"],
                expires_at=row["expires_at"],
                rotated_from=row["rotated_from"],
                revoked_at=row["revoked_at"],
                revoked_by=row["revoked_by"],
            )
            for row in rows[:limit]
        ]
        return KeyPage(keys=page, next=page[-1].id if len(rows) > limit else None)

    @post(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def create(
        self,
        request: StrictRequest,
        services: Injected,
        data: JSONBody[CreateKey],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[KeyMade]:
        """A new access key; `If-Match` is the revision of its grant."""
        terms = read_terms(idempotency_key, if_match)
        actor = request.user

        def do(unit: WriteUnit) -> Done:
            grant = matching_grant(unit, actor, data.grant, terms)
            answer = services.keys_over(unit.keys, unit.grants).create(
                grant.id,
                data.name,
                actor,
                expires_at=None if data.expires_at is None else data.expires_at.astimezone(UTC),
                limits=data.key_limits(),
                models=data.models,
                labels=data.labels,
            )
            return _made(201, answer, grant.path)

        return write_once(services, actor, terms, {"operation": "key create", **data.asked()}, do)

    @post("/{key:str}/rotate", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def rotate(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        key: KeyId,
        idempotency_key: IdempotencyKey,
        data: MaybeWhy = None,
        if_match: IfMatch = None,
    ) -> Response[KeyMade]:
        """A new secret for the same capability; the old one stops working at once, what was spent stays spent."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor, key = request.user, public_id(key)

        def do(unit: WriteUnit) -> Done:
            grant = _grant_of(unit, key, actor)
            return _made(201, services.keys_over(unit.keys, unit.grants).rotate(key, actor), grant.path)

        return write_once(services, actor, terms, {"operation": "key rotate", "key": key, **_reason(data)}, do)

    @post("/{key:str}/revoke", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def revoke(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        key: KeyId,
        idempotency_key: IdempotencyKey,
        data: MaybeWhy = None,
        if_match: IfMatch = None,
    ) -> Response[KeyGiven]:
        """Makes a key useless at once."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor, key = request.user, public_id(key)

        def do(unit: WriteUnit) -> Done:
            grant = _grant_of(unit, key, actor)
            by = authorship(actor, _NO_REASON if data is None else data.reason, terms)
            revoked = services.revocations_over(unit).revoke_key(key, by)
            if isinstance(revoked, Problem):
                raise Refusal([revoked])
            given = key_given(revoked, grant.path)
            return Done(200, given, given)

        return write_once(services, actor, terms, {"operation": "key revoke", "key": key, **_reason(data)}, do)


def _grant_of(unit: WriteUnit, key_id: str, actor: Actor) -> Grant:
    """The grant of a key that the person sees. Raises Refusal, one and the same for any other key."""
    stored = unit.keys.find(key_id) if _KEY_ID.fullmatch(key_id) else None
    grant = None if stored is None else Sight(unit.tree(), actor).find(stored.grant_id)
    if not isinstance(grant, Grant):
        raise Refusal([Problem(code="unknown_key", path="", detail=f"there is no access key `{key_id}`")])
    return grant


def _reason(data: Why | None) -> dict[str, str]:
    return {} if data is None else {"reason": data.reason}


def _made(status: int, answer: NewKey | Problem, grant_path: str) -> Done:
    if isinstance(answer, Problem):
        raise Refusal([answer])
    given = key_given(answer.key, grant_path)
    kept = KeyMade(key=given, secret=None, capability=None)
    return Done(status, KeyMade(key=given, secret=answer.text, capability=answer.token), kept)
