"""The routes of the vocabulary of tags: everybody reads it, as everybody has to keep to it."""

from collections.abc import Callable
from typing import Annotated

from litestar import Controller, Response, get, post, put
from litestar.params import FromQuery, JSONBody, PathParameter
from msgspec import Meta

from remit.api.answers import Given
from remit.api.bodies import Body, Reason, StrictRequest, Text
from remit.api.grants import found
from remit.api.params import IdempotencyKey, IfMatch, Injected
from remit.api.problems import PROBLEM_RESPONSES, Refusal
from remit.api.services import Services
from remit.api.sight import Sight
from remit.api.writes import Done, read_terms, write_once
from remit.grants.governing import VocabularyService, unknown_tag
from remit.grants.model import Problem
from remit.grants.vocabulary_model import GovernedTag, TagTerms
from remit.store.postgres_writes import WriteUnit

TagRef = Annotated[str, PathParameter(description="the tag's name")]
Values = Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], Meta(max_length=500)]


class SetTag(Body, frozen=True, kw_only=True):
    """How a name is governed, as a whole; `values` null for any, `under` a grant where it holds there and below alone."""

    owner: Text
    description: Annotated[str, Meta(min_length=1, max_length=500)]
    values: Values | None
    under: Text | None = None
    reason: Reason


class RetireTag(Body, frozen=True, kw_only=True):
    """Values that are not allowed any more; without any, the name is free again."""

    values: Values = ()
    reason: Reason


class TagGiven(Given, frozen=True, kw_only=True):
    """A governed tag; `values` null for any, `retired_values` were allowed once, `grant_id` is null where it holds everywhere."""

    name: str
    revision: int
    owner: str
    description: str
    values: list[str] | None
    retired_values: list[str]
    grant_id: str | None
    is_retired: bool


class TagPage(Given, frozen=True, kw_only=True):
    """Governed tags, by name."""

    tags: list[TagGiven]


class Tags(Controller):
    """Names are governed and freed again, never removed; each change is a revision."""

    path = "/v1/tags"
    tags = ["tags"]  # noqa: RUF012 - the framework reads it from the class

    @get(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def list_tags(self, services: Injected, retired: FromQuery[bool] = False) -> TagPage:
        """Which tag names are governed, and which values they may have."""
        return TagPage(tags=[tag_given(one) for one in services.vocabulary.all(retired=retired)])

    @get("/{tag:str}", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def read(self, services: Injected, tag: TagRef) -> Response[TagGiven]:
        """One of them; `ETag` is its revision."""
        one = services.vocabulary.find(tag)
        if one is None:
            raise Refusal([unknown_tag(tag)])
        return Response(tag_given(one), headers={"etag": f'"{one.revision}"'})

    @put("/{tag:str}", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def govern(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        tag: TagRef,
        data: JSONBody[SetTag],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TagGiven]:
        """Governs a name, or changes how; values left out are retired. Takes `write_tags`, or for values the tag's owner."""
        actor = request.user

        def do(unit: WriteUnit, service: VocabularyService, revision: int | None) -> GovernedTag | Problem:
            grant_id = None if data.under is None else found(Sight(unit.tree(), actor), data.under).id
            terms = TagTerms(owner=data.owner, description=data.description, values=data.values, grant_id=grant_id)
            return service.set(tag, terms, actor, data.reason, revision)

        asked = {"operation": "tag set", "tag": tag, **data.asked()}
        return _write(request, services, idempotency_key, if_match, asked, do)

    @post("/{tag:str}/retire", sync_to_thread=True, status_code=200, responses=PROBLEM_RESPONSES)
    def retire(  # noqa: PLR0917 - one parameter per part of the request
        self,
        request: StrictRequest,
        services: Injected,
        tag: TagRef,
        data: JSONBody[RetireTag],
        idempotency_key: IdempotencyKey,
        if_match: IfMatch = None,
    ) -> Response[TagGiven]:
        """Values that are refused from now on, or without any the name itself; entries stay as they are."""

        def do(_: WriteUnit, service: VocabularyService, revision: int | None) -> GovernedTag | Problem:
            return service.retire(tag, data.values, request.user, data.reason, revision)

        asked = {"operation": "tag retire", "tag": tag, **data.asked()}
        return _write(request, services, idempotency_key, if_match, asked, do)


def tag_given(one: GovernedTag) -> TagGiven:
    """As it is answered."""
    return TagGiven(
        name=one.name,
        revision=one.revision,
        owner=one.owner,
        description=one.description,
        values=None if one.values is None else sorted(one.values),
        retired_values=sorted(one.retired),
        grant_id=one.grant_id,
        is_retired=one.is_retired,
    )


def _write(  # noqa: PLR0917 - one parameter per part of the request
    request: StrictRequest,
    services: Services,
    idempotency_key: str,
    if_match: str | None,
    asked: dict[str, object],
    do: Callable[[WriteUnit, VocabularyService, int | None], GovernedTag | Problem],
) -> Response[TagGiven]:
    terms = read_terms(idempotency_key, if_match)

    def done(unit: WriteUnit) -> Done:
        made = do(unit, services.vocabulary_over(unit), terms.if_match)
        if isinstance(made, Problem):
            raise Refusal([made])
        given = tag_given(made)
        return Done(200, given, given, made.revision)

    return write_once(services, request.user, terms, asked, done)
