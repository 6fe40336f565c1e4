"""Outcomes over HTTP: who asserts them, in which forms they come, and who reads what they cost."""

import json
import secrets
from datetime import timedelta
from itertools import count
from typing import Any

import httpx
import pytest

from remit.store.connect import connect
from tests.api.support import ADMIN, Caller, Plane, refused

CE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
TYPE = "remit.outcome.v1"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_numbers = count(1)


class Desk:
    """`NAME/team` of olga's with `NAME/team/desk` below it, `NAME/other` beside; a help desk whose role is bound to the team."""

    def __init__(self, plane: Plane, name: str) -> None:
        self.plane, self.name = plane, name
        self.team, self.desk, self.other = f"{name}/team", f"{name}/team/desk", f"{name}/other"
        plane.admin.made(name, 1000)
        plane.admin.made(self.team, 500, owner=f"olga@{name}.example")
        plane.admin.made(self.desk, 500, owner=f"dora@{name}.example")
        plane.admin.made(self.other, 100)
        self.system_name = f"zendesk@{name}.example"
        self.give(self.system_name, "system_of_record", self.team)
        self.system = plane.caller(self.system_name)

    def give(self, person: str, role: str, grant: str | None) -> None:
        body = {"person": person, "role": role, "grant": grant, "reason": "test"}
        assert self.plane.admin.write("POST", "/roles", body).status_code == 201

    def now(self) -> Any:
        return self.plane.authority.clock.now()

    def event(self, **more: Any) -> dict[str, Any]:
        return {
            "source": f"zendesk-{self.name}", "id": f"e{next(_numbers)}", "kind": "ticket_resolved", "subject": "1234",
            "status": "success", "time": self.now().isoformat(), "grant": self.desk, **more,
        }  # fmt: skip

    def cloud(self, **data: Any) -> dict[str, Any]:
        plain = self.event(**data)
        context = {name: plain.pop(name) for name in ("source", "id", "subject", "time")}
        return {"specversion": "1.0", "type": TYPE, **context, "data": plain}

    def events(self, **wanted: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.plane.admin.get("/outcomes", under=self.name, **wanted).json()["events"]
        return found


@pytest.fixture
def desk(plane: Plane, name: str) -> Desk:
    return Desk(plane, name)


def say(caller: Caller, body: Any, kind: str = "application/json", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return caller.http.post("/outcomes", content=content, headers={"content-type": kind, **headers})


def test_an_event_is_recorded_once_and_kept_as_it_was(desk: Desk) -> None:
    """The answer has its outcome; again it is known; another body under its source and id is refused by the field's name."""
    event = desk.event(
        value_nanousd=5, evidence_url="https://x.example/1234", weight_ppm=250_000, operations=["op_1"], traces=[TRACE],
        tags={"ticket": "1234"}, window={"since": "2026-06-01T00:00:00Z", "until": "2026-06-02T00:00:00+02:00"},
    )  # fmt: skip
    first, again = say(desk.system, event), say(desk.system, event)
    assert first.status_code == again.status_code == 200, first.text
    (one,), (other,) = first.json()["events"], again.json()["events"]
    assert (one["is_new"], other["is_new"]) == (True, False) and other == {**one, "is_new": False}
    refused(say(desk.system, {**event, "status": "failure"}), 409, "conflict_different_status")
    (kept,) = desk.events()
    assert kept["outcome_id"] == one["outcome_id"] and kept["asserted_by"] == desk.system_name
    assert {name: kept[name] for name in ("id", "subject", "weight_ppm", "evidence_url", "grant_path")} == {
        "id": event["id"], "subject": "1234", "weight_ppm": 250_000, "evidence_url": "https://x.example/1234",
        "grant_path": desk.desk,
    }  # fmt: skip
    assert [join["kind"] for join in kept["joins"]] == ["operation", "tag", "trace", "window"]


def test_cloudevents_come_in_all_three_modes(desk: Desk) -> None:
    """Structured, as a batch and in headers: each is the same event as the plain one, and extensions are left alone."""
    one = desk.cloud(tags={"ticket": "1"})
    assert say(desk.system, {**one, "comexampleextension": "x"}, f"{CE}; charset=utf-8").status_code == 200
    batch = say(desk.system, [one, desk.cloud(), desk.cloud(subject="77")], BATCH)
    assert [event["is_new"] for event in batch.json()["events"]] == [False, True, True]
    named = {name: one[name] for name in ("specversion", "type", "source", "id", "time")}
    headers = {f"ce-{name}": value for name, value in named.items()} | {"ce-subject": "12%334"}
    binary = say(desk.system, one["data"], **headers)
    assert binary.status_code == 200, binary.text
    assert binary.json()["events"][0]["is_new"] is False, "`%33` is 3"
    traced = desk.cloud() | {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    assert say(desk.system, traced, CE).status_code == 200
    assert desk.events()[-1]["joins"] == [{"kind": "trace", "name": "", "value": TRACE, "since": None, "until": None}]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"type": "com.example.other"}, TYPE),
        ({"data": None}, "`data` is a JSON object"),
        ({"data_base64": "e30="}, "`data` is a JSON object"),
        ({"time": "2026-06-01"}, "RFC3339"),
        ({"time": None}, "time"),
        ({"subject": ""}, "subject"),
        ({"id": "x" * 201}, "id"),
    ],
)
def test_a_cloudevent_that_is_none_of_ours_is_refused(desk: Desk, change: dict[str, Any], word: str) -> None:
    """What is wrong is said, and nothing of its batch is recorded."""
    bad = {name: value for name, value in {**desk.cloud(), **change}.items() if value is not None or name == "data"}
    problem = refused(say(desk.system, [desk.cloud(), bad], BATCH), 400, "malformed_request")
    assert word in problem["detail"]
    refused(say(desk.system, bad, CE), 400, "malformed_request")
    assert desk.events() == []


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Ticket!"}, {"status": "great"}, {"weight_ppm": 0}, {"weight_ppm": 1_000_001}, {"weight_ppm": 0.5},
        {"value_nanousd": 1.5}, {"traces": ["xyz"]}, {"evidence_url": "javascript:alert(1)"}, {"tags": {"Ticket": "1"}},
        {"operations": ["x"] * 101}, {"unknown": 1}, {"subject": "a\u0000b"}, {"subject": "a\nb"},
    ],
)  # fmt: skip
def test_an_event_is_read_strictly(desk: Desk, change: dict[str, Any]) -> None:
    """No number that is none, no name that is not known, nothing beyond its bounds."""
    refused(say(desk.system, desk.event(**change)), 400, "malformed_request")


def test_a_batch_is_recorded_whole_or_not_at_all(desk: Desk) -> None:
    """One event that may not be asserted keeps all of them out, and the answer says which it was."""
    late = (desk.now() + timedelta(minutes=6)).isoformat()
    problem = refused(say(desk.system, [desk.event(), desk.event(time=late)]), 422, "occurred_in_the_future")
    assert problem["problems"][0]["field"] == "[1].time"
    refused(say(desk.system, [desk.event() for _ in range(1001)]), 400, "malformed_request")
    assert say(desk.system, b"[]").json() == {"events": []}, "an empty batch says nothing"
    assert desk.events() == []


def test_what_occurred_is_neither_of_the_future_nor_of_long_ago(desk: Desk) -> None:
    """Five minutes ahead and 400 days back are taken, and late events as they come."""
    now = desk.now()
    ago = now - timedelta(days=400) + timedelta(minutes=1)
    for time in (now + timedelta(minutes=4), ago):
        assert say(desk.system, desk.event(time=time.isoformat())).status_code == 200
    old = desk.event(time=(now - timedelta(days=401)).isoformat())
    refused(say(desk.system, old), 422, "occurred_too_long_ago")
    backwards = {"since": "2026-06-02T00:00:00Z", "until": "2026-06-02T00:00:00Z"}
    refused(say(desk.system, desk.event(window=backwards)), 422, "window_invalid")


def test_whoever_spends_asserts_nothing(desk: Desk) -> None:
    """A key and a capability are no tokens here; the owner of a grant may not either, whatever role they have for it."""
    admin = desk.plane.admin
    key = admin.write("POST", "/keys", {"grant": desk.desk, "name": "agent"}).json()
    for bearer in (key["secret"], key["capability"]):
        refused(say(desk.plane.bearer(bearer), desk.event()), 401, "unauthenticated")
    for owner in (f"olga@{desk.name}.example", f"dora@{desk.name}.example"):
        problem = refused(say(desk.plane.caller(owner), desk.event()), 403, "not_permitted")
        assert "owns" in problem["detail"]
    desk.give(f"dora@{desk.name}.example", "system_of_record", desk.name)
    dora = desk.plane.caller(f"dora@{desk.name}.example")
    assert "their own spending" in refused(say(dora, desk.event()), 403, "not_permitted")["detail"]
    assert desk.events() == []
    assert admin.get("/audit", under=desk.name, outcome="refused").json()["rows"][-1]["operation"] == "outcome assert"


@pytest.mark.parametrize("role", ["finance", "security", "auditor", "approver", "gateway_operator"])
def test_no_other_role_asserts(desk: Desk, role: str) -> None:
    """Only a system of record, and an org_owner, who may do all; to whoever does not see the grant it does not exist."""
    desk.give(f"{role}@{desk.name}.example", role, None)
    answer = say(desk.plane.caller(f"{role}@{desk.name}.example"), desk.event())
    code = "grant_unknown" if role == "gateway_operator" else "not_permitted"
    refused(answer, 404 if role == "gateway_operator" else 403, code)
    assert say(desk.plane.admin, desk.event()).status_code == 200


def test_a_role_reaches_its_own_subtree(desk: Desk) -> None:
    """Beside and above it a system of record asserts nothing and sees nothing; it reads no ledger and no report."""
    for path in (desk.name, desk.other, f"{desk.name}/never"):
        refused(say(desk.system, desk.event(grant=path)), 404, "grant_unknown")
    assert say(desk.system, desk.event()).status_code == 200
    assert desk.system.get("/outcomes").json()["events"] == []
    assert desk.system.get("/outcomes/report").json() == {
        "by": ["grant"], "since": None, "until": None, "kinds": [], "ledger_nanousd": 0
    }  # fmt: skip


def test_a_token_can_be_for_asserting_only(desk: Desk) -> None:
    """It asserts its kinds and sources at its grant and below; every other request of it is refused."""
    source = f"zendesk-{desk.name}"
    body = {"purpose": "help desk", "scope": "outcomes:assert", "kinds": ["ticket_resolved"], "sources": [source]}
    made = desk.system.write("POST", "/tokens", body)
    assert made.status_code == 201, made.text
    assert {name: made.json()["token"][name] for name in ("scope", "kinds", "sources")} == {
        "scope": "outcomes:assert", "kinds": ["ticket_resolved"], "sources": [source]
    }  # fmt: skip
    held = desk.plane.bearer(made.json()["secret"])
    assert say(held, desk.event()).status_code == 200
    refused(say(held, desk.event(kind="csat_good")), 403, "not_permitted")
    refused(say(held, desk.event(source="another")), 403, "not_permitted")
    for method, route in (
        ("GET", "/outcomes"),
        ("GET", "/grants"),
        ("POST", "/tokens"),
        ("POST", "/grants"),
        ("GET", "/tokens"),
    ):
        problem = refused(held.write(method, route, {}), 403, "not_permitted")
        assert "only assert outcomes" in problem["detail"]
    of_admin = desk.plane.admin.write("POST", "/tokens", {**body, "grant": desk.team, "kinds": [], "sources": []})
    narrow = desk.plane.bearer(of_admin.json()["secret"])
    assert say(narrow, desk.event(kind="anything")).status_code == 200
    refused(say(narrow, desk.event(grant=desk.other)), 404, "grant_unknown")
    refused(desk.system.write("POST", "/tokens", {"purpose": "x", "kinds": ["a"]}), 422, "scope_missing")
    both = {"purpose": "x", "scope": "outcomes:assert", "read_only": True}
    refused(desk.system.write("POST", "/tokens", both), 403, "not_permitted")


def spent(desk: Desk, amount: int, grant: str, **tags: str) -> None:
    """A settled call, as a gateway books it."""
    ((grant_id,),) = desk.plane.sql("SELECT id FROM grants WHERE path = %s", grant)
    nodes = [row[0] for row in desk.plane.sql("SELECT id FROM grants WHERE starts_with(%s, path) ORDER BY path", grant)]
    name, now = secrets.token_hex(13), desk.now()
    entry = {
        "grant_path": grant, "node_ids": nodes, "block_ids": [], "class": "production", "owner": ADMIN, "tags": tags,
        "vendor": "openai", "deployment": "openai", "model_requested": "m", "price_source": "test", "policy_version": 1,
        "decision_id": "dec_1",
    }  # fmt: skip
    hold = {
        "id": f"hold_{name}", "operation_id": f"op_{name}", "request_id": f"req_{name}", "grant_id": grant_id,
        "taken_at": now.isoformat(), "expires_at": (now + timedelta(hours=1)).isoformat(), "ceiling_nanousd": amount,
        "ceiling_tokens": 0, "lines": [], "entry": entry,
    }  # fmt: skip
    ending = {"id": hold["id"], "outcome": "settled", "usd": amount, "tokens": 0, "entry": {"usage_source": "vendor"}}
    with connect(desk.plane.url, "remit_gateway") as gateway:
        revision = desk.plane.sql("SELECT revision FROM tree_state")[0][0]
        gateway.execute("SELECT take_holds(%s, %s, %s::jsonb)", (revision, now, json.dumps([hold])))
        gateway.execute("SELECT finish_holds(%s, %s::jsonb)", (now, json.dumps([ending])))


def test_a_report_is_of_what_its_reader_sees(desk: Desk) -> None:
    """The admin's is of the whole tree, an owner's of theirs; each sums to what the ledger's own report says."""
    spent(desk, 60, desk.desk, ticket="1", feature="chat")
    spent(desk, 40, desk.desk, ticket="2", feature="chat")
    spent(desk, 30, desk.other, feature="lab")
    for number, status in (("1", "success"), ("2", "failure")):
        event = desk.event(subject=number, status=status, tags={"ticket": number}, value_nanousd=500)
        assert say(desk.system, event).status_code == 200
    made = desk.plane.admin.get("/outcomes/report", under=desk.name, by="feature", kind="ticket_resolved").json()
    (kind,) = made["kinds"]
    total = kind["total"]
    assert (made["ledger_nanousd"], total["total_nanousd"]) == (130, 130)
    assert (total["attributed_nanousd"], total["failed_nanousd"], total["unattributed_nanousd"]) == (100, 40, 30)
    assert (total["cost_per_success_nanousd"], total["value_nanousd"], total["successes"]) == (100, 500, 1)
    assert [row["group"] for row in kind["rows"]] == [["chat"], ["lab"]]
    olga = desk.plane.caller(f"olga@{desk.name}.example")
    theirs = olga.get("/outcomes/report", by="grant,model").json()
    assert theirs["ledger_nanousd"] == 100 == theirs["kinds"][0]["total"]["total_nanousd"]
    assert olga.get("/ledger/report").json()["total"]["amount_nanousd"] == 100
    assert {event["subject"] for event in olga.get("/outcomes").json()["events"]} == {"1", "2"}
    refused(olga.get("/outcomes/report", under=desk.name), 404, "grant_unknown")
    refused(olga.get("/outcomes/report", by="No!"), 400, "dimension_unknown")
    assert len(olga.get("/outcomes", subject="1").json()["events"]) == 1
    first = olga.get("/outcomes", limit=1).json()
    assert [event["subject"] for event in olga.get("/outcomes", after=first["next"]).json()["events"]] == ["2"]


def test_two_experiments_of_few_outcomes_are_not_judged(desk: Desk) -> None:
    """The answer says that it is too little, and gives no difference; an arm is not compared with itself."""
    spent(desk, 60, desk.desk, ticket="1", experiment="A")
    assert say(desk.system, desk.event(subject="1", tags={"ticket": "1"})).status_code == 200
    asked = {"kind": "ticket_resolved", "first": "A", "second": "B", "under": desk.name}
    made = desk.plane.admin.get("/outcomes/compare", **asked).json()
    assert (made["verdict"], made["difference_nanousd"], made["interval"]) == ("too_few", None, None)
    assert (made["first"]["cost_per_success_nanousd"], made["second"]["cost_per_success_nanousd"]) == (60, None)
    assert made["confidence_percent"] == 95 and "Fieller" in made["method"]
    refused(desk.plane.admin.get("/outcomes/compare", **{**asked, "second": "A"}), 422, "arms_equal")


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-06-01T00:00:00"])
@pytest.mark.parametrize("route", ["/outcomes", "/outcomes/report", "/outcomes/compare"])
def test_an_instant_that_cannot_be_is_refused(plane: Plane, route: str, instant: str) -> None:
    """Beyond the calendar of some zone, or without an offset; the beginning of time itself is taken."""
    more = {"kind": "k", "first": "a", "second": "b"} if route.endswith("compare") else {}
    refused(plane.admin.get(route, since=instant, **more), 400, "malformed_request")
    assert plane.admin.get(route, since="0001-01-03T00:00:00Z", **more).status_code == 200
