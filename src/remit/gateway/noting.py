"""What is told to the security people about requests, and the tags a request says."""

from collections.abc import Callable
from typing import Any

from remit.gateway.answers import Ids
from remit.gateway.decide import Admission, CallerTags, caller_tags
from remit.gateway.principal import holder_of
from remit.gateway.proving import Presented
from remit.gateway.snapshot import TreeSnapshot
from remit.gateway.wire.exchange import Exchange
from remit.grants.attempts import REFUSED, Attempt
from remit.grants.tags import parse_baggage, parse_tag_header
from remit.kernel.decisions import RefusalCode, Refused
from remit.providers.openai import ChatRequest, Problem

_FOR_SECURITY = (RefusalCode.class_mismatch, RefusalCode.capability_revoked, RefusalCode.surface_not_allowed)
NOT_THE_GRANTS = frozenset(
    {
        RefusalCode.malformed_request,
        RefusalCode.unauthenticated,
        RefusalCode.capability_invalid,
        RefusalCode.authority_unreachable,
        RefusalCode.no_deployment,
    }
)
"""What says nothing about a grant: the request is no request, its sender nobody, or it is the gateway that could not."""


class Noting:
    """Counts what is refused, or said in vain, under the name of the holder the issuer gave: no caller chooses it."""

    def __init__(self, note: Callable[[Attempt], None], report: Callable[[str, dict[str, Any]], None]) -> None:
        self._note = note
        self._report = report

    def refused(self, snapshot: TreeSnapshot, presented: Presented, refused: Refused, ids: Ids) -> None:
        """Counts a refused request under its grant and code; and for security, if it is one that somebody known here sent."""
        if refused.code in NOT_THE_GRANTS:
            return
        if (grant_id := _grant_of(snapshot, presented, refused)) is not None:
            self._note(Attempt(grant_id, f"{REFUSED}{refused.code.name}", ""))
        stopped = any(one.startswith("breaker.") for one in refused.policy_ids)
        if not stopped and refused.code not in _FOR_SECURITY:
            return
        holder = holder_of(snapshot, presented)
        if holder is None:
            return
        grant_id, subject = holder
        tag, value = str(refused.extra.get("tag", "")), str(refused.extra.get("value", ""))
        kind = "stopped" if stopped else refused.code.name
        self._note(Attempt(grant_id, kind, subject, tag[:128], value[:128]))
        if refused.code is RefusalCode.class_mismatch:
            self._report(grant_id, {**refused.extra, "request_id": ids.request})

    def admitted(self, admission: Admission) -> None:
        """Counts tags of a caller's that what the issuer fixed wins over: the call goes on, under the issuer's."""
        principal = admission.principal
        for tag, value in admission.tags.conflicts.items():
            subject = principal.key_id or principal.verified.block_ids[0]
            self._note(Attempt(principal.leaf.grant.leaf.id, "tag_conflict", subject, tag[:128], value[:128]))


def _grant_of(snapshot: TreeSnapshot, presented: Presented, refused: Refused) -> str | None:
    """The grant a refusal is of: the one it names, which no stranger is told, or its verified holder's."""
    if refused.path is not None and (known := snapshot.id_of(refused.path)) is not None:
        return known
    holder = holder_of(snapshot, presented)
    return None if holder is None else holder[0]


def tags_of(exchange: Exchange, request: ChatRequest | Problem) -> CallerTags | Problem:
    """What the caller says in the header `remit-tags`, in `metadata` and in baggage, or what is wrong with it."""
    values = [value for name, value in exchange.headers if name == b"remit-tags"]
    try:
        parsed = parse_tag_header(b",".join(values).decode("utf-8"))
    except UnicodeDecodeError:
        parsed = "it is not UTF-8"
    if isinstance(parsed, str):
        return Problem(RefusalCode.malformed_request, f"header `remit-tags`: {parsed}")
    return caller_tags(parsed, request.metadata, _baggage(exchange))


def _baggage(exchange: Exchange) -> dict[str, str]:
    values = [value for name, value in exchange.headers if name == b"baggage"]
    return parse_baggage(b",".join(values).decode("ascii", "replace")) if values else {}
