"""The routes of people, their roles and their tokens."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, TypeVar

from litestar import Controller, Response, get, post
from litestar.params import FromQuery, JSONBody, PathParameter
from msgspec import Meta

from remit.api.answers import Given
from remit.api.bodies import Body, Instant, Reason, StrictRequest, Text
from remit.api.grants import found
from remit.api.params import IdempotencyKey, IfMatch, Injected
from remit.api.problems import PROBLEM_RESPONSES, Refusal, refuse
from remit.api.roster import Left
from remit.api.sight import Sight
from remit.api.writes import Done, authorship, read_terms, require_no_match, write_once
from remit.grants.model import Asserting, Problem, Role, RoleBinding, same_person
from remit.grants.roles import may
from remit.kernel.secret_texts import public_id
from remit.store.postgres_people import StoredPerson
from remit.store.postgres_roster import PersonRecord, Source, StoredBinding
from remit.store.postgres_writes import WriteUnit

_T = TypeVar("_T")
Names = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=100)]
BindingId = Annotated[str, PathParameter(description="as the role was answered with")]
PersonName = Annotated[str, PathParameter(description="e-mail address")]
TokenId = Annotated[str, PathParameter(description="the 12 characters between `rp_` and the secret")]


class GiveRole(Body, frozen=True, kw_only=True):
    """A role for a person; without `grant` for the whole organization."""

    person: Text
    role: Role
    grant: Text | None = None
    reason: Reason


class EndRole(Body, frozen=True, kw_only=True):
    """Why a role ends."""

    reason: Reason


class LeavePerson(Body, frozen=True, kw_only=True):
    """A person leaves; what they own goes to `successor`."""

    successor: Text | None = None
    reason: Reason


class DelegatePerson(Body, frozen=True, kw_only=True):
    """Who stands in for a person until an instant; both null for nobody."""

    delegate: Text | None
    until: Instant | None
    reason: Reason


class MakeToken(Body, frozen=True, kw_only=True):
    """A token for oneself. `ttl_seconds` left out is 30 days, or what is left of the token shown.

    With the scope `outcomes:assert` it can do nothing else, and that for these `kinds` and `sources` only, if any are named.
    """

    purpose: Annotated[str, Meta(min_length=1, max_length=200)]
    read_only: bool = False
    grant: Text | None = None
    scope: Literal["outcomes:assert"] | None = None
    kinds: Names = ()
    sources: Names = ()
    ttl_seconds: Annotated[int, Meta(ge=1, le=366 * 24 * 3600)] | None = None


class RoleGiven(Given, frozen=True, kw_only=True):
    """A role of a person; `grant_id` is null for the whole organization."""

    id: str
    person: str
    role: Role
    grant_id: str | None
    grant_path: str | None
    source: Source
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    ended_by: str | None


class RolePage(Given, frozen=True, kw_only=True):
    """Roles, by person."""

    roles: list[RoleGiven]


class PersonGiven(Given, frozen=True, kw_only=True):
    """A person; `delegate` stands in for them until `delegate_until`."""

    name: str
    id: str
    status: str
    delegate: str | None
    delegate_until: datetime | None
    manager: str | None
    successor: str | None
    left_at: datetime | None
    source: Source
    created_at: datetime


class PersonPage(Given, frozen=True, kw_only=True):
    """Everybody who is known here, by name."""

    people: list[PersonGiven]


class LeftGiven(Given, frozen=True, kw_only=True):
    """What leaving did: paths of grants that moved to the successor, and of those that have no owner now."""

    person: PersonGiven
    moved: list[str]
    ownerless: list[str]
    tokens_revoked: int
    roles_ended: int
    tickets_handed_on: list[str]
    tickets_withdrawn: list[str]


class TokenGiven(Given, frozen=True, kw_only=True):
    """A person token, without its secret; held to reading, or to a grant and what is below it, where it says so."""

    id: str
    person: str
    is_admin: bool
    read_only: bool
    grant_id: str | None
    purpose: str
    made_with: str | None
    scope: str | None
    kinds: list[str]
    sources: list[str]
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None


class TokenPage(Given, frozen=True, kw_only=True):
    """One's own tokens."""

    tokens: list[TokenGiven]


class TokenMade(Given, frozen=True, kw_only=True):
    """A token just made; its text is in the first answer only."""

    token: TokenGiven
    secret: str | None


class Roles(Controller):
    """Roles are given and ended, never removed."""

    path = "/v1/roles"
    tags = ["people"]  # noqa: RUF012 - the framework reads it from the class

    @get(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def list_roles(
        self,
        request: StrictRequest,
        services: Injected,
        person: FromQuery[str | None] = None,
        ended: FromQuery[bool] = False,
    ) -> RolePage:
        """One's own roles; those of everybody with a role that shows people."""
        key = None if person is None else person.casefold()
        rows = services.people_store.roster.bindings(key, ended=ended)
        everybody = may(request.user, "read_people")
        given = [role_given(one) for one in rows if everybody or same_person(one.person, request.user.name)]
        return RolePage(roles=given)

    @post(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def give(
        self,
        request: StrictRequest,
        services: Injected,
        data: JSONBody[GiveRole],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[RoleGiven]:
        """A role for a person; takes an org_owner of that grant, or an admin."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor = request.user

        def do(unit: WriteUnit) -> Done:
            grant = None if data.grant is None else found(Sight(unit.tree(), actor), data.grant)
            binding = RoleBinding(data.role, None if grant is None else grant.id)
            given = role_given(_made(services.roster_over(unit).give(data.person, binding, actor, "command")))
            return Done(201, given, given)

        return write_once(services, actor, terms, {"operation": "role grant", **data.asked()}, do)

    @post("/{role:str}/revoke", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def end(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        role: BindingId,
        data: JSONBody[EndRole],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[RoleGiven]:
        """Ends a role from the next request on; again, it changes nothing."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor = request.user

        def do(unit: WriteUnit) -> Done:
            given = role_given(_made(services.roster_over(unit).end(role, actor)))
            return Done(200, given, given)

        return write_once(services, actor, terms, {"operation": "role revoke", "role": role, **data.asked()}, do)


class People(Controller):
    """People, without anything secret."""

    path = "/v1/people"
    tags = ["people"]  # noqa: RUF012 - the framework reads it from the class

    @get(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def list_people(self, request: StrictRequest, services: Injected) -> PersonPage:
        """Everybody who is known here; takes a role that shows people."""
        if not may(request.user, "read_people"):
            raise refuse("not_permitted", "who is here: that takes an admin, an auditor or security")
        return PersonPage(people=[person_given(one) for one in services.people_store.roster.all()])

    @post("/{person:str}/leave", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def leave(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        person: PersonName,
        data: JSONBody[LeavePerson],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[LeftGiven]:
        """A person leaves: tokens and roles end, grants go to the successor or are told of as ownerless."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor = request.user

        def do(unit: WriteUnit) -> Done:
            by = authorship(actor, data.reason, terms)
            given = left_given(_made(services.roster_over(unit).leave(person, data.successor, by)))
            return Done(200, given, given)

        return write_once(services, actor, terms, {"operation": "person leave", "person": person, **data.asked()}, do)

    @post("/{person:str}/return", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def come_back(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        person: PersonName,
        data: JSONBody[EndRole],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[PersonGiven]:
        """A person who left may be given tokens, roles and grants again."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor = request.user

        def do(unit: WriteUnit) -> Done:
            given = person_given(_made(services.roster_over(unit).come_back(person, actor)))
            return Done(200, given, given)

        return write_once(services, actor, terms, {"operation": "person return", "person": person, **data.asked()}, do)

    @post("/{person:str}/delegate", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def delegate(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        person: PersonName,
        data: JSONBody[DelegatePerson],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[PersonGiven]:
        """Who stands in for a person, until when; takes that person, or an admin."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor = request.user
        until = None if data.until is None else data.until.astimezone(UTC)
        if (data.delegate is None) != (until is None):
            raise refuse("delegate_invalid", "a delegate stands in until an instant: state both or none", field="until")

        def do(unit: WriteUnit) -> Done:
            given = person_given(_made(services.roster_over(unit).delegate(person, data.delegate, until, actor)))
            return Done(200, given, given)

        return write_once(
            services, actor, terms, {"operation": "person delegate", "person": person, **data.asked()}, do
        )


class Tokens(Controller):
    """A person's own tokens, made with the one that is shown: for the same or for less."""

    path = "/v1/tokens"
    tags = ["people"]  # noqa: RUF012 - the framework reads it from the class

    @get(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def list_tokens(self, request: StrictRequest, services: Injected) -> TokenPage:
        """One's own tokens, those that ended as well; with one held to a grant, that one and what was made with it."""
        shown: StoredPerson = request.auth
        tokens = services.people.of(shown.name)
        return TokenPage(tokens=[token_given(one) for one in tokens if _in_reach(one, shown, tokens)])

    @post(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def make(
        self,
        request: StrictRequest,
        services: Injected,
        data: JSONBody[MakeToken],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TokenMade]:
        """A token for oneself that may no more than the one shown, ends no later, and is revoked with it."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor, shown = request.user, request.auth
        if data.scope is None and (data.kinds or data.sources):
            raise refuse("scope_missing", "`kinds` and `sources` narrow the scope `outcomes:assert`", field="scope")
        asserts = None if data.scope is None else Asserting(data.kinds, data.sources)

        def do(unit: WriteUnit) -> Done:
            tree = unit.tree()
            made = _made(
                services.people_over(unit.people).narrow(
                    shown,
                    read_only=data.read_only,
                    grant=None if data.grant is None else found(Sight(tree, actor), data.grant),
                    tree=tree,
                    life=None if data.ttl_seconds is None else timedelta(seconds=data.ttl_seconds),
                    purpose=data.purpose,
                    asserts=asserts,
                )
            )
            given = token_given(made.person)
            return Done(201, TokenMade(token=given, secret=made.text), TokenMade(token=given, secret=None))

        asked = {"operation": "token make", "with": shown.id, **data.asked()}
        return write_once(services, actor, terms, asked, do)

    @post("/{token:str}/revoke", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def revoke(
        self,
        request: StrictRequest,
        services: Injected,
        token: TokenId,
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TokenGiven]:
        """Ends one of one's own tokens, and those that were made with it."""
        terms = read_terms(idempotency_key, if_match)
        require_no_match(terms)
        actor, shown, token = request.user, request.auth, public_id(token)

        def do(unit: WriteUnit) -> Done:
            service = services.people_over(unit.people)
            tokens = service.of(shown.name)
            if not any(one.id == token and _in_reach(one, shown, tokens) for one in tokens):
                raise refuse("unknown_token", f"you have no token `{token[:80]}`", status=404)
            given = token_given(_made(service.revoke(token, actor.name)))
            return Done(200, given, given)

        return write_once(services, actor, terms, {"operation": "token revoke", "token": token}, do)


def _in_reach(token: StoredPerson, shown: StoredPerson, tokens: list[StoredPerson]) -> bool:
    """Whether the token shown may look after this one: one that is held to a grant only after what was made with it."""
    if shown.grant_id is None or token.id == shown.id:
        return True
    made_with = {one.id: one.made_with for one in tokens}
    above = token.made_with
    while above is not None and above != shown.id:
        above = made_with.get(above)
    return above is not None


def _made(answer: _T | Problem) -> _T:
    """What was done. Raises Refusal."""
    if isinstance(answer, Problem):
        raise Refusal([answer])
    return answer


def role_given(one: StoredBinding) -> RoleGiven:
    """A role as it is given out."""
    return RoleGiven(**{name: getattr(one, name) for name in RoleGiven.__struct_fields__})


def person_given(one: PersonRecord) -> PersonGiven:
    """A person as they are given out."""
    return PersonGiven(**{name: getattr(one, name) for name in PersonGiven.__struct_fields__})


def left_given(left: Left) -> LeftGiven:
    """What leaving did, as it is given out."""
    return LeftGiven(
        person=person_given(left.person),
        moved=list(left.moved),
        ownerless=list(left.ownerless),
        tokens_revoked=left.tokens_revoked,
        roles_ended=left.roles_ended,
        tickets_handed_on=list(left.tickets.handed_on),
        tickets_withdrawn=list(left.tickets.withdrawn),
    )


def token_given(one: StoredPerson) -> TokenGiven:
    """A token as it is given out, without its secret."""
    parts = {name: getattr(one, name) for name in TokenGiven.__struct_fields__ if name != "person"}
    return TokenGiven(person=one.name, **parts | {"kinds": list(one.kinds), "sources": list(one.sources)})
