"""One write: its idempotency key, its precondition, one transaction, one remembered answer."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
from litestar import Response

from remit.api.problems import Refusal, refuse
from remit.api.services import Services
from remit.api.sight import Sight
from remit.grants.model import Actor, Grant, Problem
from remit.grants.ports import Remembered
from remit.grants.service import Answer, Authorship, NotWritten, Written
from remit.store.postgres_writes import WriteUnit

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_REVISION = re.compile(r'"([0-9]{1,18})"|([0-9]{1,18})')


@dataclass(frozen=True, slots=True)
class Terms:
    """What the headers of a write say: the key that makes a repetition harmless, and the revision it is meant for."""

    key: str
    if_match: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """A write that stands: the answer now, and what of it is remembered (all but secrets).

    With `problems` it is answered as a refusal, and stands all the same.
    """

    status: int
    answer: Any
    kept: Any
    revision: int | None = None
    problems: tuple[Problem, ...] = ()


def read_terms(idempotency_key: str, if_match: str | None) -> Terms:
    """The terms that two headers state. Raises Refusal."""
    if not _KEY.fullmatch(idempotency_key):
        detail = "an idempotency key has 1 to 200 printable ASCII characters without spaces"
        raise refuse("idempotency_key_missing", detail, status=400, field="Idempotency-Key")
    if if_match is None:
        return Terms(idempotency_key, None)
    found = _REVISION.fullmatch(if_match.strip())
    if found is None:
        detail = 'the header `If-Match` is a revision, such as `7` or `"7"`'
        raise refuse("if_match_invalid", detail, status=400, field="If-Match")
    return Terms(idempotency_key, int(found[1] or found[2]))


def require_no_match(terms: Terms) -> None:
    """For writes that concern no stored grant: a precondition is refused rather than ignored."""
    if terms.if_match is not None:
        detail = "this write changes no stored grant, so there is no revision to match"
        raise refuse("if_match_invalid", detail, status=400, field="If-Match")


def write_once(
    services: Services, actor: Actor, terms: Terms, asked: Mapping[str, Any], do: Callable[[WriteUnit], Done]
) -> Response[Any]:
    """Carries out a write, or answers what the first one under its key was answered. Raises Refusal.

    `asked` is JSON-able and is what two requests under one key are compared by.
    """

    def kept(unit: WriteUnit) -> tuple[Done, dict[str, Any]]:
        done = do(unit)
        answer = {"status": done.status, "body": msgspec.to_builtins(done.kept), "revision": done.revision}
        return done, answer | ({"problems": [asdict(one) for one in done.problems]} if done.problems else {})

    body = {**asked, "if_match": terms.if_match, "actor": actor.name}
    if actor.within is not None:
        # A token that is held to a grant learns no answer of one that is not.
        body["within"] = actor.within
    done = services.writes.once(terms.key, body, kept)
    if isinstance(done, Problem):
        raise Refusal([done])
    if isinstance(done, Remembered) and "problems" in done.answer:
        raise Refusal([Problem(**one) for one in done.answer["problems"]])
    if isinstance(done, Done) and done.problems:
        raise Refusal(done.problems)
    if isinstance(done, Done):
        return Response(done.answer, status_code=done.status, headers=_etag(done.revision))
    headers = {"idempotency-replayed": "true", **_etag(done.answer["revision"])}
    return Response(done.answer["body"], status_code=done.answer["status"], headers=headers)


def _etag(revision: int | None) -> dict[str, str]:
    return {} if revision is None else {"etag": f'"{revision}"'}


def matching_grant(unit: WriteUnit, actor: Actor, ref: str, terms: Terms) -> Grant:
    """The grant that a write is about, if its author sees it and it is at the expected revision. Raises Refusal."""
    grant = Sight(unit.tree(), actor).find(ref)
    if isinstance(grant, Problem):
        raise Refusal([grant])
    if terms.if_match not in (None, grant.revision):
        detail = f"`{grant.path}` is at revision {grant.revision}, not {terms.if_match}"
        raise Refusal([Problem(code="revision_conflict", path=grant.path, detail=detail)])
    return grant


def authorship(actor: Actor, reason: str, terms: Terms) -> Authorship:
    """Who writes, why, under which key."""
    return Authorship(actor=actor, reason=reason, idempotency_key=terms.key)


def written(unit: WriteUnit, actor: Actor, answer: Answer) -> Written:
    """The write that stands; raises Refusal for one that does not, with what its author may know of the reasons."""
    if isinstance(answer, NotWritten):
        raise Refusal(Sight(unit.tree(), actor).shown(answer.problems))
    return answer
