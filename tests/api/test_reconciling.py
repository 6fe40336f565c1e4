"""A vendor's month over HTTP: compared, booked by two people, closed, and opened again only by a ticket."""

import secrets
from datetime import UTC, datetime
from typing import Any

import pytest

from remit.testing.vendor_reports.books import BookRow
from remit.testing.vendor_reports.clouds import focus
from tests.api.support import Caller, Plane, refused

MONTH = "2026-10"
BILL = {"invoice_id": "INV-1", "total_nanousd": 1_100, "lines": [{"kind": "tax", "amount_nanousd": 100}]}


@pytest.fixture(scope="module")
def bo(plane: Plane) -> Caller:
    """Another person of finance, who may do no more."""
    caller = plane.caller("bo@acme.example")
    for person in ("bo@acme.example", "cy@acme.example"):
        plane.admin.write("POST", "/roles", {"person": person, "role": "finance", "reason": "books"})
    plane.admin.made("acme", scope={"team": "core"})
    return caller


@pytest.fixture(scope="module")
def cy(plane: Plane) -> Caller:
    return plane.caller("cy@acme.example")


def bring(caller: Caller) -> None:
    row = BookRow(
        at=datetime(2026, 10, 3, tzinfo=UTC), model="m", used={"input": 5}, costs_nanousd={"input": 1_000}, requests=2
    )
    key = {"idempotency-key": secrets.token_hex(8)}
    answer = caller.http.post("/statements", params={"source": "focus"}, content=focus([row]), headers=key)
    assert answer.status_code in (200, 201), answer.text


def match(caller: Caller, **more: Any) -> Any:
    body = {"month": MONTH, "vendor": "Anthropic", "bills": [BILL], "reason": "October", **more}
    return caller.write("POST", "/reconciliations", body)


def test_a_month_from_its_statement_to_its_close(plane: Plane, bo: Caller, cy: Caller) -> None:
    """What nobody metered is found, booked by who did not ask for it, and the month closes at the bill and stays closed."""
    bring(bo)
    first = match(bo)
    assert first.status_code == 201, first.text
    found = first.json()
    assert (found["ledger_nanousd"], found["billed_nanousd"], found["found_nanousd"]) == (0, 1_100, 1_100)
    drift = bo.get(f"/reconciliations/{found['id']}/findings").json()["findings"]
    assert sum(one["amount_nanousd"] for one in drift) == 1_100 and "tax" in {one["cause"] for one in drift}
    looked = sorted({one["cause"] for one in drift if one["outcome"] == "look"})
    assert looked, "use that no key of ours explains is for somebody to look at"
    accepted = match(bo, accept=looked).json()
    assert (accepted["proposed_nanousd"], accepted["unexplained_nanousd"]) == (1_100, 0)
    refused(bo.write("POST", f"/months/{MONTH}/close", {"reason": "agreed"}), 422, "bill_differs")

    ticket = bo.write("POST", f"/reconciliations/{accepted['id']}/post", {"reason": "as billed"}).json()
    assert "kind" in ticket, ticket
    assert (ticket["kind"], ticket["requester"]) == ("books", "bo@acme.example")
    refused(bo.write("POST", f"/tickets/{ticket['id']}/approve", {"reason": "mine"}), 403, "not_permitted")
    approved = cy.write("POST", f"/tickets/{ticket['id']}/approve", {"reason": "right"})
    assert approved.json()["state"] == "approved", approved.text
    assert bo.get(f"/reconciliations/{accepted['id']}").json()["posted_by"] == "cy@acme.example"
    by_team = plane.admin.get("/ledger/report", by="team").json()["rows"]
    assert [(one["group"], one["amount_nanousd"]) for one in by_team] == [(["core"], 1_100)], by_team
    refused(bo.write("POST", f"/reconciliations/{accepted['id']}/post", {"reason": "again"}), 409, "already_posted")
    assert match(bo, accept=looked).json()["proposed_nanousd"] == 0

    closed = bo.write("POST", f"/months/{MONTH}/close", {"reason": "agreed"})
    assert closed.json()["status"] == "closed", closed.text
    assert closed.json()["totals"]["vendors"] == {"Anthropic": 1_100}
    refused(bo.write("POST", f"/months/{MONTH}/close", {"reason": "again"}), 409, "month_already_closed")
    assert [(one["month"], one["status"]) for one in cy.get("/months").json()["months"]] == [("2026-10-01", "closed")]

    asked = bo.write("POST", f"/months/{MONTH}/reopen", {"reason": "a late credit"}).json()
    refused(bo.write("POST", f"/tickets/{asked['id']}/approve", {"reason": "mine"}), 403, "not_permitted")
    cy.write("POST", f"/tickets/{asked['id']}/approve", {"reason": "yes"})
    assert [one["status"] for one in cy.get("/months").json()["months"]] == ["open"]


def reopened(bo: Caller, cy: Caller) -> None:
    asked = bo.write("POST", f"/months/{MONTH}/reopen", {"reason": "once more"}).json()
    assert cy.write("POST", f"/tickets/{asked['id']}/approve", {"reason": "yes"}).json()["state"] == "approved"


def test_a_key_closes_for_who_used_it_and_while_it_holds(plane: Plane, bo: Caller, cy: Caller) -> None:
    """The same again is answered as the first time; by somebody else, otherwise, or after the month was opened again it is refused."""
    assert match(bo).json()["billed_nanousd"] == 1_100
    key, body = secrets.token_hex(8), {"reason": "agreed"}
    first = bo.write("POST", f"/months/{MONTH}/close", body, key=key)
    again = bo.write("POST", f"/months/{MONTH}/close", body, key=key)
    assert first.status_code == again.status_code == 201 and first.json() == again.json(), first.text
    refused(cy.write("POST", f"/months/{MONTH}/close", body, key=key), 409, "conflict_different_actor")
    refused(bo.write("POST", f"/months/{MONTH}/close", {"reason": "x"}, key=key), 409, "conflict_different_reason")
    reopened(bo, cy)
    refused(bo.write("POST", f"/months/{MONTH}/close", body, key=key), 409, "month_changed_since")
    assert [one["status"] for one in cy.get("/months").json()["months"]] == ["open"]


def test_a_difference_is_waived_by_two(plane: Plane, bo: Caller, cy: Caller) -> None:
    """Asked for, it is a ticket, which who asks does not decide; asked again under the key it is the same one, also when it is closed."""
    higher = {"invoice_id": "INV-2", "total_nanousd": 1_500}
    assert match(bo, bills=[higher]).status_code == 201
    waiver = {"what": "difference", "vendor": "Anthropic", "reason": "disputed"}
    key, body = secrets.token_hex(8), {"reason": "October", "waived": [waiver]}
    asked = bo.write("POST", f"/months/{MONTH}/close", body, key=key)
    assert asked.status_code == 202, asked.text
    ticket = asked.json()
    assert (ticket["kind"], ticket["state"], ticket["assignees"]) == ("books", "open", ["cy@acme.example"])
    assert "waives `difference` of Anthropic, $0.0000004: disputed" in ticket["evidence"]["asks"]
    assert bo.write("POST", f"/months/{MONTH}/close", body, key=key).json() == ticket
    refused(cy.write("POST", f"/months/{MONTH}/close", body), 409, "ticket_open_already")
    refused(bo.write("POST", f"/tickets/{ticket['id']}/approve", {"reason": "mine"}), 403, "not_permitted")
    assert [one["status"] for one in cy.get("/months").json()["months"]] == ["open"]
    assert cy.write("POST", f"/tickets/{ticket['id']}/approve", {"reason": "yes"}).json()["state"] == "approved"
    (month,) = cy.get("/months").json()["months"]
    assert (month["status"], month["changed_by"], month["totals"]["waived_nanousd"]) == (
        "closed",
        "cy@acme.example",
        400,
    )
    replayed = bo.write("POST", f"/months/{MONTH}/close", body, key=key)
    assert (replayed.status_code, replayed.json()["id"]) == (202, ticket["id"])
    other = {**body, "waived": [{**waiver, "reason": "other"}]}
    refused(bo.write("POST", f"/months/{MONTH}/close", other, key=key), 409, "conflict_different_waived")
    refused(bo.write("POST", f"/months/{MONTH}/close", body), 409, "month_already_closed")
    reopened(bo, cy)


def test_who_compared_does_not_decide_what_another_asks(plane: Plane, bo: Caller, cy: Caller) -> None:
    """Of two of finance, the one who compared is the one who asks; where the other does it goes to an admin, and not back."""
    found = match(bo, bills=[{"invoice_id": "INV-3", "total_nanousd": 1_700}], accept=["unexplained"]).json()
    assert (found["proposed_nanousd"], found["made_by"]) == (600, "bo@acme.example")
    ticket = cy.write("POST", f"/reconciliations/{found['id']}/post", {"reason": "for bo"}).json()
    told = refused(bo.write("POST", f"/tickets/{ticket['id']}/approve", {"reason": "mine"}), 403, "not_permitted")
    assert "they made the comparison" in told["detail"]
    assert ticket["assignees"] == ["ada@acme.example"]
    assert cy.write("POST", f"/tickets/{ticket['id']}/withdraw", {"reason": "over"}).is_success


def test_who_writes_the_books(plane: Plane, bo: Caller) -> None:
    """Finance and admins; an owner of a grant does not, sees nothing of it, and the attempt is audited."""
    owner = plane.caller("owner@acme.example")
    plane.admin.create("acme/part")
    refused(match(owner), 403, "not_permitted")
    refused(owner.get("/months"), 403, "not_permitted")
    refused(owner.write("POST", f"/months/{MONTH}/close", {"reason": "mine"}), 403, "not_permitted")
    rows = plane.admin.get("/audit", actor="owner@acme.example", outcome="refused").json()["rows"]
    assert {row["operation"] for row in rows} == {"reconcile", "close month"}


def test_what_cannot_be_compared_or_closed_says_why(plane: Plane, bo: Caller) -> None:
    """A month that is none, a cause that is none, a statement that is not there, a comparison that is not known."""
    refused(match(bo, month="2026-13"), 400, "malformed_request")
    refused(match(bo, accept=["magic"]), 422, "cause_unknown")
    refused(match(bo, statements=["stmt_none"]), 422, "not_comparable")
    told = refused(match(bo, vendor="anthropic"), 422, "vendor_unknown")
    assert "Anthropic" in told["detail"].partition("known are ")[2], told
    refused(match(bo, vendor="anthropic", resolve=True), 422, "vendor_unknown")
    refused(match(bo, bills=[{**BILL, "currency": "EUR"}]), 400, "malformed_request")
    refused(match(bo, bills=[{**BILL, "rate": "1.08"}]), 400, "malformed_request")
    refused(match(bo, month="2026-08", bills=[]), 422, "not_comparable")
    refused(bo.get("/reconciliations/rec_none"), 404, "reconciliation_unknown")
    refused(bo.write("POST", "/months/2090-01/close", {"reason": "early"}), 422, "month_not_over")
    key = secrets.token_hex(8)
    body = {"month": "2026-09", "vendor": "Anthropic", "bills": [BILL], "reason": "September"}
    first = bo.write("POST", "/reconciliations", body, key=key)
    assert bo.write("POST", "/reconciliations", body, key=key).json()["id"] == first.json()["id"]
