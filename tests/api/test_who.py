"""Who may see and do what: tokens, owners, strangers."""

import re
import secrets
from datetime import timedelta
from typing import Any

import httpx
import pytest

from remit.api.people import NewPerson
from remit.grants.model import Problem
from tests.api.support import ADMIN, END, Caller, Plane, ref, refused, usd


class Team:
    """`org` is ada's with 100, `org/team` is the owner's with 50, `org/team/app` someone else's, `org/other` ada's."""

    def __init__(self, plane: Plane, name: str) -> None:
        self.root, self.team, self.app, self.other = name, f"{name}/team", f"{name}/team/app", f"{name}/other"
        plane.admin.made(name, 100)
        plane.admin.made(self.team, 50, owner=f"Olga@{name}.example", expires_at="2098-01-01T00:00:00Z")
        plane.admin.made(self.app, 20, owner=f"app@{name}.example")
        plane.admin.made(self.other, 20)
        self.owner = plane.caller(f"olga@{name}.example")
        self.stranger = plane.caller(f"eve@{name}.example")


@pytest.fixture
def team(plane: Plane, name: str) -> Team:
    return Team(plane, name)


ROUTES = [
    ("GET", "/grants"),
    ("POST", "/grants"),
    ("GET", "/grants/x"),
    ("PATCH", "/grants/x"),
    ("GET", "/grants/x/history"),
    *(("POST", f"/grants/x/{verb}") for verb in ("activate", "suspend", "resume", "renew", "revoke")),
    ("GET", "/grants/x/why"),
    *(("POST", f"/grants/x/{verb}") for verb in ("split", "transfer", "reclaim")),
    ("POST", "/apply"),
    ("GET", "/keys"),
    ("POST", "/keys"),
    ("POST", "/capabilities"),
    ("GET", "/tags"),
    ("GET", "/tags/x"),
    ("PUT", "/tags/x"),
    ("POST", "/tags/x/retire"),
    ("POST", "/revocations"),
    ("GET", "/revocations/x"),
    ("POST", "/keys/x/rotate"),
    ("POST", "/keys/x/revoke"),
    ("GET", "/tickets"),
    ("GET", "/tickets/x"),
    ("POST", "/tickets/grant"),
    ("POST", "/tickets/renew"),
    ("POST", "/tickets/increase"),
    ("POST", "/tickets/transfer"),
    ("POST", "/tickets/break-glass"),
    ("POST", "/tickets/x/approve"),
    ("POST", "/tickets/x/decline"),
    ("POST", "/tickets/x/withdraw"),
    ("POST", "/tickets/x/comment"),
    ("POST", "/tickets/x/reassign"),
    ("GET", "/debts"),
    ("GET", "/findings"),
    ("POST", "/outcomes"),
    ("GET", "/outcomes"),
    ("GET", "/outcomes/report"),
    ("GET", "/outcomes/compare"),
    ("GET", "/audit"),
    ("GET", "/reconciliations"),
    ("POST", "/reconciliations"),
    ("GET", "/reconciliations/x"),
    ("GET", "/reconciliations/x/findings"),
    ("POST", "/reconciliations/x/post"),
    ("GET", "/months"),
    ("POST", "/months/x/close"),
    ("POST", "/months/x/reopen"),
    ("GET", "/statements"),
    ("POST", "/statements"),
    ("GET", "/statements/x"),
    ("GET", "/statements/x/lines"),
    ("POST", "/statements/x/withdraw"),
    ("GET", "/security/feed"),
    ("GET", "/trips"),
    ("POST", "/trips/x/end"),
    ("GET", "/ledger/report"),
    ("GET", "/ledger/entries"),
    ("GET", "/ledger/focus"),
    ("GET", "/ledger/checkpoint"),
    ("GET", "/ledger/proofs/inclusion"),
    ("GET", "/ledger/proofs/consistency"),
    *(("GET", f"/ledger/{name}") for name in ("total", "forecast", "units", "coverage", "budget")),
    ("GET", "/cost-rules"),
    ("GET", "/cost-rules/x"),
    ("PUT", "/cost-rules/x"),
    ("POST", "/cost-rules/x/retire"),
    ("GET", "/cost-rules/x/preview"),
    ("POST", "/cost-rules/x/post"),
    ("GET", "/doctor"),
    ("GET", "/gateways"),
    ("GET", "/notifications"),
    ("GET", "/roles"),
    ("POST", "/roles"),
    ("POST", "/roles/x/revoke"),
    ("GET", "/people"),
    *(("POST", f"/people/x/{verb}") for verb in ("leave", "return", "delegate")),
    ("GET", "/tokens"),
    ("POST", "/tokens"),
    ("POST", "/tokens/x/revoke"),
    ("GET", "/notifications/dead"),
    ("POST", "/notifications/7/retry"),
    ("GET", "/jobs"),
    ("POST", "/jobs/7/retry"),
]
OPEN = {
    ("GET", "/health"),
    ("POST", "/token"),
    ("GET", "/sign-in"),
    ("GET", "/sign-in/callback"),
    ("POST", "/hooks/x"),
}


def test_every_route_of_the_document_is_known_here(plane: Plane) -> None:
    """The table above leaves out no route that the OpenAPI document has, but for the open ones."""
    document = plane.nobody.get("/openapi.json").json()
    documented = {
        (method.upper(), re.sub(r"\{\w+\}", "x", re.sub(r"\{(notification|job)\}", "7", route)).removeprefix("/v1"))
        for route, methods in document["paths"].items()
        for method in methods
    }
    assert documented - OPEN == set(ROUTES)


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_every_route_needs_a_token(plane: Plane, method: str, route: str) -> None:
    """Without a token a request is refused before its body, its parameters or its key are looked at."""
    answer = plane.nobody.http.request(method, f"{route}?bad=1", content=b"{")
    refused(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_wrong_tokens_cannot_be_told_apart(plane: Plane) -> None:
    """An unknown token, a wrong secret and a text that is no token get the same answer but for its request id."""
    text = plane.token(ADMIN).text
    other = plane.token(ADMIN).text
    wrong = [
        f"{text[:16]}{other[16:]}",
        f"rp_{'0' * 12}_{text[16:]}",
        text[:-1],
        f"{text}x",
        text.upper(),
        "rk_" + text[3:],
        "é",
    ]
    answers = set()
    for token in wrong:
        answer = plane.nobody.http.get("/grants", headers=[(b"authorization", b"Bearer " + token.encode())])
        problem = refused(answer, 401, "unauthenticated")
        answers.add(answer.text.replace(problem["request_id"], ""))
    assert len(answers) == 1
    doubled = [("authorization", f"Bearer {text}"), ("authorization", f"Bearer {other}")]
    refused(plane.nobody.http.get("/grants", headers=doubled), 401, "unauthenticated")
    refused(plane.nobody.http.get("/grants", headers={"authorization": f"Basic {text}"}), 401, "unauthenticated")


def test_a_revoked_token_ends_at_once(plane: Plane) -> None:
    """A revoked token is refused from the next request on, and revoking it again changes nothing."""
    made = plane.token(ADMIN)
    caller = plane.bearer(made.text)
    assert caller.get("/grants").status_code == 200
    first = plane.people.revoke(made.person.id, ADMIN)
    refused(caller.get("/grants"), 401, "token_revoked")
    assert plane.people.revoke(made.person.id, ADMIN) == first
    assert isinstance(plane.people.revoke("nothing", ADMIN), Problem)


def test_an_expired_token_is_refused(plane: Plane) -> None:
    """A token lives as long as it was made for."""
    made = plane.people.create("short@acme.example", ADMIN, life=timedelta(microseconds=1))
    assert isinstance(made, NewPerson)
    refused(plane.bearer(made.text).get("/grants"), 401, "token_expired")


def test_secrets_are_stored_as_hashes_only(plane: Plane) -> None:
    """Neither the token nor its secret is anywhere in the table or in what is shown of it."""
    made = plane.token(ADMIN)
    ((row,),) = plane.sql("SELECT to_jsonb(p)::text FROM people_tokens AS p WHERE id = %s", made.person.id)
    assert made.text[16:] not in row and made.text not in repr(made)
    for role in ("remit_gateway", "remit_reader"):
        ((may,),) = plane.sql("SELECT has_table_privilege(%s, 'remit.people_tokens', 'SELECT')", role)
        assert may is False


def test_an_owner_sees_their_subtree(plane: Plane, team: Team) -> None:
    """An owner sees their grant and all below it, and nothing beside or above; an admin sees all of it."""
    seen = [one["path"] for one in team.owner.get("/grants").json()["grants"]]
    assert seen == [team.team, team.app]
    assert team.owner.get(f"/grants/{ref(team.app)}").status_code == 200
    assert team.owner.get(f"/grants/{ref(team.app)}/history").status_code == 200
    assert len(plane.admin.get("/grants", under=team.root).json()["grants"]) == 4
    assert team.stranger.get("/grants").json() == {"grants": [], "next": None}


@pytest.mark.parametrize("who", ["owner", "stranger"])
def test_what_one_does_not_see_does_not_exist(team: Team, name: str, who: str) -> None:
    """Every read and write of a grant out of sight is answered like one of a grant that does not exist."""
    caller: Caller = getattr(team, who)
    never = f"{name}/never"

    def answers(path: str) -> list[tuple[int, str]]:
        key: dict[str, Any] = {"grant": path, "name": "ci"}
        answers: list[httpx.Response] = [
            caller.get(f"/grants/{ref(path)}"),
            caller.get(f"/grants/{ref(path)}/history"),
            caller.get("/grants", under=path),
            caller.get("/keys", grant=path),
            caller.get("/ledger/report", under=path),
            caller.get("/ledger/entries", under=path),
            *(caller.get(f"/ledger/{one}", under=path) for one in ("total", "forecast", "units", "coverage", "budget")),
            caller.patch(path, limits=[]),
            *(caller.act(verb, path) for verb in ("activate", "suspend", "resume", "revoke")),
            caller.act("renew", path, expires_at=END),
            caller.create(f"{path}/child", 1),
            caller.write("POST", "/keys", key),
            caller.apply({f"{path}/child": {"owner": ADMIN}}),
            caller.apply({f"{path}/child": {"owner": ADMIN}}, dry_run=True),
        ]
        for answer in answers:
            refused(answer, answer.status_code, answer.json()["code"])
        return [
            (one.status_code, one.text.replace(one.headers["x-request-id"], "").replace(path, "PATH"))
            for one in answers
        ]

    assert answers(team.other) == answers(never)
    refused(caller.apply({team.other: {"owner": ADMIN}}, dry_run=True), 404, "grant_unknown")
    refused(
        caller.apply({team.root: {"owner": ADMIN, "class": "production", "expires": "2099-01-01"}}),
        404,
        "grant_unknown",
    )


def test_an_owner_narrows_but_does_not_raise(team: Team) -> None:
    """An owner may lower, suspend and hand on; raising their own grant takes the owner above or an admin."""
    assert team.owner.patch(team.team, limits=[usd(45)]).status_code == 200
    raised: list[dict[str, Any]] = [
        {"limits": [usd(46)]},
        {"limits": []},
        {"owner": ADMIN},
        {"delegation": {"overcommit_percent": 1}},
    ]
    for fields in raised:
        refused(team.owner.patch(team.team, **fields), 403, "not_permitted")
    refused(team.owner.act("renew", team.team, expires_at="2098-06-01T00:00:00Z"), 403, "not_permitted")
    refused(
        team.owner.apply(
            {
                team.team: {
                    "owner": f"olga@{team.root}.example",
                    "expires": "2098-01-01",
                    "limits": [{"usd": "0.000000055", "per": "month"}],
                }
            }
        ),
        403,
        "not_permitted",
    )
    assert team.owner.act("suspend", team.team).status_code == 200
    refused(team.owner.act("resume", team.team), 403, "not_permitted")


def test_an_owner_hands_on_below(team: Team) -> None:
    """An owner creates and raises below their grant, within it; also with a manifest."""
    assert team.owner.create(f"{team.team}/new", 10).status_code == 201
    refused(team.owner.create(f"{team.team}/more", 21), 422, "shares_exceeded")
    assert team.owner.patch(f"{team.team}/new", limits=[usd(20)]).status_code == 200
    applied = team.owner.apply(
        {f"{team.team}/file": {"owner": ADMIN, "limits": [{"usd": "0.000000005", "per": "month"}]}}
    )
    assert applied.status_code == 200, applied.text


def test_only_an_admin_makes_roots(team: Team, name: str) -> None:
    """A root is refused to anyone else, by either way of writing it."""
    refused(team.owner.create(f"{name}root"), 403, "not_permitted")
    tree = {f"{name}root": {"owner": ADMIN, "class": "production", "expires": "2099-01-01"}}
    refused(team.owner.apply(tree), 403, "not_permitted")
    refused(team.owner.apply(tree, dry_run=True), 403, "not_permitted")


def test_the_doctor_is_for_admins(plane: Plane, team: Team) -> None:
    """Only an admin runs the checks of all books."""
    refused(team.owner.get("/doctor"), 403, "not_permitted")
    verdict = plane.admin.get("/doctor").json()
    assert {check["name"] for check in verdict["checks"]} >= {"buckets", "hashes", "reports", "audit", "seals", "jobs"}


def test_keys_are_made_rotated_and_revoked_by_owners(plane: Plane, team: Team) -> None:
    """The secret is in the first answer only; a key out of sight is unknown; lists hold no secret."""
    body = {"grant": team.app, "name": "ci", "limits": [usd(5, "day")], "models": ["gpt-4o*"], "labels": {"team": "x"}}
    idempotency = secrets.token_hex(8)
    made = team.owner.write("POST", "/keys", body, key=idempotency)
    assert made.status_code == 201, made.text
    secret, key_id = made.json()["secret"], made.json()["key"]["id"]
    assert secret.startswith(f"rk_{key_id}_") and made.json()["capability"]
    again = team.owner.write("POST", "/keys", body, key=idempotency)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == {**made.json(), "secret": None, "capability": None}
    ((remembered,),) = plane.sql("SELECT answer::text FROM answers WHERE idempotency_key = %s", idempotency)
    assert secret not in remembered and made.json()["capability"] not in remembered
    refused(team.owner.write("POST", "/keys", {**body, "name": "cd"}, key=idempotency), 409, "conflict_different_name")
    for verb in ("rotate", "revoke"):
        refused(team.stranger.write("POST", f"/keys/{key_id}/{verb}"), 404, "unknown_key")
        refused(team.stranger.write("POST", f"/keys/%00/{verb}"), 400, "malformed_request")
    rotated = team.owner.write("POST", f"/keys/{key_id}/rotate")
    assert rotated.status_code == 201 and rotated.json()["key"]["rotated_from"] == key_id
    refused(team.owner.write("POST", f"/keys/{key_id}/rotate"), 404, "unknown_key")
    new_id = rotated.json()["key"]["id"]
    listed = team.owner.get("/keys").json()["keys"]
    assert {one["id"]: one["revoked_at"] is None for one in listed} == {key_id: False, new_id: True}
    assert team.stranger.get("/keys").json()["keys"] == []
    assert team.owner.write("POST", f"/keys/{new_id}/revoke").json()["revoked_by"] == f"olga@{team.root}.example"
    refused(team.owner.write("POST", f"/keys/{new_id}/revoke"), 409, "already_revoked")
    first = team.owner.get("/keys", limit=1).json()
    rest = team.owner.get("/keys", limit=1, after=first["next"]).json()
    assert [*first["keys"], *rest["keys"]] == team.owner.get("/keys").json()["keys"] and rest["next"] is None


def test_why_a_key_is_made_and_ended_is_recorded(plane: Plane, admin: Caller, name: str) -> None:
    """A reason may be said, is compared like the rest of a request, and is kept with the answer."""
    admin.made(name, 100)
    body = {"grant": name, "name": "ci", "reason": "for the build"}
    made = admin.write("POST", "/keys", body, key=f"{name}-create").json()["key"]["id"]
    turned = admin.write("POST", f"/keys/{made}/rotate", {"reason": "monthly"}, key=f"{name}-rotate")
    assert turned.status_code == 201, turned.text
    route = f"/keys/{turned.json()['key']['id']}/revoke"
    refused(admin.write("POST", route, {"reason": ""}), 400, "malformed_request")
    refused(admin.write("POST", route, {"raeson": "x"}), 400, "malformed_request")
    assert admin.write("POST", route, {"reason": "leaked"}, key=f"{name}-revoke").status_code == 200
    refused(admin.write("POST", route, {"reason": "other"}, key=f"{name}-revoke"), 409, "conflict_different_reason")
    for verb, reason in (("create", "for the build"), ("rotate", "monthly"), ("revoke", "leaked")):
        question = "SELECT body ->> 'reason', body ->> 'actor' FROM answers WHERE idempotency_key = %s"
        assert plane.sql(question, f"{name}-{verb}") == [(reason, ADMIN)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": ""}, "name_invalid"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expiry_in_the_past"),
        ({"limits": [usd(5), usd(6)]}, "capability_invalid"),
        ({"models": ["a", "a"]}, "capability_invalid"),
        ({"labels": {"": "x"}}, "capability_invalid"),
    ],
)
def test_a_key_that_means_nothing_is_refused(admin: Caller, name: str, change: dict[str, Any], code: str) -> None:
    """A key's name, expiry and narrowing are judged by the key service."""
    admin.made(name, 100)
    refused(admin.write("POST", "/keys", {"grant": name, "name": "ci", **change}), 422, code)


def test_problems_say_nothing_about_what_one_does_not_see(team: Team) -> None:
    """Where a plan fails above what its author sees, siblings and their amounts are not among the reasons."""
    tree = {team.team: {"owner": f"olga@{team.root}.example", "limits": [{"usd": "0.000000090", "per": "month"}]}}
    plan = team.owner.apply(tree, dry_run=True)
    assert [one["code"] for one in plan.json()["problems"]] == ["shares_exceeded"]
    problem = refused(team.owner.apply(tree), 422, "shares_exceeded")
    assert problem["problems"][0]["path"] == ""
    assert team.other not in plan.text and "0.00000002" not in plan.text
    assert team.other not in str(problem)
