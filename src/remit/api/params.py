"""Parameters that routes share, and the refusal of any other."""

from datetime import datetime
from typing import Annotated, Any, get_args

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, QueryParameter

from remit.api.problems import refuse
from remit.api.services import Services
from remit.grants.model import Actor
from remit.store.postgres_people import StoredPerson

Injected = NamedDependency[Services]
# What `remit.api.writes.read_terms` takes, for the document; it refuses the rest in its own words.
_KEY_FORM = {"pattern": "^[!-~]{1,200}$"}
_REVISION_FORM = {"pattern": '^("[0-9]{1,18}"|[0-9]{1,18})$'}
IdempotencyKey = Annotated[
    str,
    HeaderParameter(
        name="Idempotency-Key",
        description="the same key with the same request is done once",
        schema_extra=_KEY_FORM,
    ),
]
MaybeIdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key", description="required unless `dry_run`", required=False, schema_extra=_KEY_FORM
    ),
]
IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="the revision the write is meant for; another one is refused, as is any where nothing stored is changed",
        schema_extra=_REVISION_FORM,
    ),
]
PageSize = Annotated[int, QueryParameter(ge=1, le=1000, description="at most so many")]
AfterNumber = Annotated[int, QueryParameter(ge=0, le=2**63 - 1, description="continue after this one")]
Since = Annotated[datetime | None, QueryParameter(description="an instant with an offset")]


def holds_nul(request: Request[Any, Any, Any]) -> bool:
    """Whether the path or a parameter holds the character NUL, which the database can neither keep nor look for."""
    stated = [one for pair in request.query_params.multi_items() for one in pair]
    return any("\0" in str(one) for one in (*request.path_params.values(), *stated))


async def refuse_odd_parameters(request: Request[Actor, StoredPerson, State]) -> None:
    """A misspelt `dry_run` must not write: every query parameter is one the route knows, stated once, an instant as such."""
    if holds_nul(request):
        raise refuse("malformed_request", "the URL holds the character NUL", status=400)
    known = request.route_handler.parsed_fn_signature.parameters
    items = list(request.query_params.multi_items())
    stated = [name for name, _ in items]
    for name, value in items:
        if name not in known:
            raise refuse("malformed_request", f"the query parameter `{name}` is not known here", status=400, field=name)
        if stated.count(name) > 1:
            raise refuse("malformed_request", f"the query parameter `{name}` stands twice", status=400, field=name)
        # The framework takes a number for seconds since 1970, which nobody means here.
        if datetime in get_args(known[name].annotation) and ":" not in value:
            detail = f"`{name}` is an instant, such as `2026-07-01T00:00:00Z`"
            raise refuse("malformed_request", detail, status=400, field=name)


def require_offsets(**instants: datetime | None) -> None:
    """Raises Refusal for an instant whose offset is not stated: nobody is left to guess the zone."""
    for field, instant in instants.items():
        if instant is not None and instant.utcoffset() is None:
            raise refuse("malformed_request", f"`{field}` needs an offset, such as `Z`", status=400, field=field)


def grant_ref(segment: str) -> str:
    """A grant's id or path from one segment of a URL, in which the slashes of a path are `%2F`."""
    return segment.replace("%2F", "/")
