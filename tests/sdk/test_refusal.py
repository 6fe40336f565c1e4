"""Refusals as exceptions: every code there is, and those a newer gateway may have."""

import json
import pickle
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

import remit
from remit.kernel.decisions import RefusalCode, Refused
from remit.providers.openai_errors import openai_error
from remit.sdk import refusal_of
from remit.sdk.refusal import combined

KINDS = {
    "malformed_request": remit.Unacceptable,
    "unauthenticated": remit.CapabilityRejected,
    "capability_invalid": remit.CapabilityRejected,
    "capability_expired": remit.CapabilityExpired,
    "capability_revoked": remit.CapabilityRevoked,
    "proof_required": remit.ProofRequired,
    "grant_inactive": remit.NotAllowed,
    "grant_expired": remit.NotAllowed,
    "surface_not_allowed": remit.NotAllowed,
    "model_not_allowed": remit.NotAllowed,
    "tags_missing": remit.Unacceptable,
    "class_mismatch": remit.NotAllowed,
    "policy_forbidden": remit.NotAllowed,
    "shape_exceeded": remit.Unacceptable,
    "unpriced": remit.NotAllowed,
    "rate_limited": remit.RateLimited,
    "paced": remit.Paced,
    "grant_exhausted": remit.BudgetExhausted,
    "authority_unreachable": remit.Unavailable,
    "no_deployment": remit.Unavailable,
}


def body(**more: Any) -> dict[str, Any]:
    """What the gateway writes, with more fields laid over its `remit` object."""
    refused = Refused(
        code=RefusalCode.grant_exhausted,
        detail="it is spent",
        status=429,
        path="acme/research",
        binding_node="acme",
        dimension="usd",
        period="day",
        limit=10,
        posted=8,
        held=1,
        required=2,
        resets_at=datetime(2026, 11, 18, tzinfo=UTC),
        retry_after_seconds=60,
        owner="ana@acme.example",
        renew_url="https://remit.acme.example/grants/acme",
    )
    document: dict[str, Any] = json.loads(openai_error(refused, request_id="req_1", decision_id="dec_1"))
    document["error"]["remit"] |= more
    return document


@pytest.mark.parametrize("code", list(RefusalCode), ids=lambda code: code.name)
def test_every_code_has_its_kind(code: RefusalCode) -> None:
    """Each code of the gateway's arrives as the kind that says what to do about it."""
    answer = json.loads(openai_error(Refused(code=code, detail="so"), request_id="req_1"))
    found = refusal_of(answer)
    assert type(found) is KINDS[code.name]
    assert (found.code, found.status, found.detail) == (code.name, code.default_status, "so")


def test_every_field_arrives() -> None:
    """Numbers are integers, the instant is one, and nothing the gateway said is lost."""
    found = refusal_of(body())
    assert isinstance(found, remit.BudgetExhausted)
    assert (found.limit, found.posted, found.held, found.required, found.retry_after_seconds) == (10, 8, 1, 2, 60)
    assert (found.path, found.binding_node, found.dimension, found.period) == ("acme/research", "acme", "usd", "day")
    assert found.resets_at == datetime(2026, 11, 18, tzinfo=UTC)
    assert (found.owner, found.decision_id, found.request_id) == ("ana@acme.example", "dec_1", "req_1")
    assert found.renew_url == "https://remit.acme.example/grants/acme"
    assert found.fields["unit"] == "nanousd"
    assert str(found) == "grant_exhausted: it is spent"


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"code": "grant_asleep", "status": 403}, remit.NotAllowed),
        ({"code": "too_curious", "status": 418}, remit.Refusal),
        ({"code": "key_unknown", "status": 401, "new_field": [1]}, remit.CapabilityRejected),
        ({"limit": "10", "resets_at": "tomorrow", "held": True, "path": 7}, remit.BudgetExhausted),
        ({"status": "429"}, remit.BudgetExhausted),
    ],
)
def test_a_newer_gateway_does_not_break_it(more: dict[str, Any], kind: type[remit.Refusal]) -> None:
    """An unknown code is of its status's kind; what has another form is unknown, and stands in `fields` as it came."""
    found = refusal_of(body(**more))
    assert type(found) is kind
    for name, value in more.items():
        assert found.fields[name] == value
    if "resets_at" in more:
        assert (found.limit, found.resets_at, found.held, found.path) == (None, None, None, None)


@pytest.mark.parametrize(
    "said",
    [
        None,
        "text",
        ValueError("other"),
        {},
        {"error": "text"},
        {"error": {"code": "grant_exhausted"}},
        {"error": {"remit": {"request_id": "a failure of the vendor's is no refusal"}}},
        httpx.Response(500, text="<html>"),
        httpx.Response(402, json=["list"]),
    ],
)
def test_what_is_no_refusal_is_none(said: object) -> None:
    """Errors of vendors, of proxies and of anybody else are left alone."""
    assert refusal_of(said) is None
    if isinstance(said, Exception):
        assert combined(said) is said
        with pytest.raises(ValueError, match="other"), remit.refusals():
            raise said


def test_a_problem_document_is_read_as_well() -> None:
    """Where the `remit` object stands at the top, as on surfaces without a shape of their own, it is found."""
    assert isinstance(refusal_of({"remit": {"code": "paced", "status": 429}}), remit.Paced)


def test_a_refusal_travels_between_processes() -> None:
    """A pickled refusal is the same refusal, without the client library's connection."""
    error = httpx.HTTPStatusError(
        "no", request=httpx.Request("GET", "http://x"), response=httpx.Response(429, json=body())
    )
    both = combined(error)
    assert isinstance(both, remit.BudgetExhausted) and isinstance(both, httpx.HTTPStatusError)
    assert type(combined(error)) is type(both)
    copy = pickle.loads(pickle.dumps(both))
    assert type(copy) is remit.BudgetExhausted and vars(copy) == vars(refusal_of(body()))


def test_a_refusal_that_is_one_already_passes() -> None:
    """`refusals` inside `refusals`, or around a configured client, changes nothing."""
    found = refusal_of(body())
    assert found is not None
    with pytest.raises(remit.BudgetExhausted) as caught, remit.refusals(), remit.refusals():
        raise found
    assert caught.value is found and caught.value.__cause__ is None
