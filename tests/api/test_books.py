"""Reports, entries and notifications: the same as the command line's, and no more than one may see."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from remit.ledger.model import REPORT_SUMS
from remit.ledger.service import spend_report
from tests.api.support import Caller, Plane, refused

_numbers = count(1)
ENTRY = """
INSERT INTO entries (id, kind, amount_nanousd, grant_id, grant_path, node_ids, block_ids, class, owner, tags, vendor,
                     deployment, model_requested, price_source, usage_source, tokens, requests, request_id, operation_id,
                     hold_id, policy_version, decision_id, held_at, recorded_at, periods, billing_month)
SELECT 'entry' || %(n)s, 'usage', %(amount)s, g.id, g.path, %(nodes)s, '{}', g.class, g.owner, %(tags)s::jsonb, 'v', 'd',
       'm', 'test', 'vendor', 3, 1, 'r', 'o', 'hold' || %(n)s, 1, 'd', %(at)s, %(at)s, '[]',
       booked_month(%(at)s)
FROM grants AS g WHERE g.path = %(path)s
RETURNING seq
"""


class Books:
    """Two teams of one root with spend each, and their owners."""

    def __init__(self, plane: Plane, name: str) -> None:
        self.name, self.left, self.right = name, f"{name}/left", f"{name}/right"
        root = plane.admin.made(name, 1000)
        self.ids = {name: root["id"]}
        for path in (self.left, self.right):
            self.ids[path] = plane.admin.made(path, 100, owner=f"{path.split('/')[1]}@{name}.example")["id"]
        self.seqs = [
            self.spend(plane, self.left, 7, '{"team": "=left", "feature": "a"}'),
            self.spend(plane, self.right, 11, '{"team": "right"}'),
            self.spend(plane, self.left, 2, '{"team": "=left", "feature": "b"}'),
        ]
        self.owner = plane.caller(f"left@{name}.example")
        self.stranger = plane.caller(f"eve@{name}.example")

    def spend(self, plane: Plane, path: str, amount: int, tags: str) -> int:
        nodes = [self.ids[self.name], self.ids[path]]
        values: dict[str, Any] = {
            "n": str(next(_numbers)),
            "amount": amount,
            "nodes": nodes,
            "tags": tags,
            "path": path,
            "at": "2026-06-01T12:00:00Z",
        }
        ((seq,),) = plane.insert(ENTRY, values)
        return int(seq)


@pytest.fixture
def books(plane: Plane, name: str) -> Books:
    return Books(plane, name)


def groups(caller: Caller, **params: Any) -> dict[tuple[str | None, ...], int]:
    answer = caller.get("/ledger/report", **params)
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert report["total"]["amount_nanousd"] == sum(row["amount_nanousd"] for row in report["rows"])
    return {tuple(row["group"]): row["amount_nanousd"] for row in report["rows"]}


def test_a_report_is_that_of_the_ledger(plane: Plane, books: Books) -> None:
    """An admin's report is what the ledger service reports, by any dimensions and tags."""
    by = "team,feature,grant,class"
    report = spend_report(plane.authority.ledger, by.split(","))
    assert groups(plane.admin, by=by) == {row.group: row.amount_nanousd for row in report.rows}
    assert groups(plane.admin, by="team", under=books.name) == {("right",): 11, ("=left",): 9}
    assert groups(plane.admin, by="team", under=books.name, since="2026-06-01T12:00:01Z") == {}
    assert groups(plane.admin, by="team", under=books.name, until="2026-06-01T12:00:01Z") == {
        ("right",): 11,
        ("=left",): 9,
    }


def test_an_owner_gets_the_report_of_their_subtree(books: Books) -> None:
    """What others spent is in no group and no total of an owner's report; a stranger's is empty."""
    assert groups(books.owner, by="feature") == {("a",): 7, ("b",): 2}
    assert groups(books.owner, by="owner,grant") == {(f"left@{books.name}.example", books.left): 9}
    assert groups(books.owner, by="team", under=books.left) == {("=left",): 9}
    refused(books.owner.get("/ledger/report", under=books.name), 404, "grant_unknown")
    refused(books.owner.get("/ledger/report", under=books.ids[books.right]), 404, "grant_unknown")
    assert groups(books.stranger, by="team") == {}


def test_a_report_as_csv(books: Books) -> None:
    """CSV has one line a group; a value that a spreadsheet would take for a formula is quoted."""
    answer = books.owner.get("/ledger/report", by="team,feature", format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[0] == ["team", "feature", *REPORT_SUMS]
    assert [(*row[:3], *row[-3:]) for row in rows[1:]] == [
        ("'=left", "a", "1", "7", "0", "0"),
        ("'=left", "b", "1", "2", "0", "0"),
    ]


def test_a_report_of_what_meets_conditions(books: Books) -> None:
    """Values of one name are alternatives, names come together, an empty value is for those without."""
    assert groups(books.owner, by="feature", only="feature=b") == {("b",): 2}
    assert groups(books.owner, by="feature", only='feature=b,feature=a,"team==left"') == {("a",): 7, ("b",): 2}
    assert groups(books.owner, by="feature", only="team=") == {}
    refused(books.owner.get("/ledger/report", only="day=2026-01-01"), 400, "dimension_unknown")
    refused(books.owner.get("/ledger/report", only="feature"), 400, "dimension_unknown")


def test_a_month_as_focus(plane: Plane, books: Books) -> None:
    """Whoever may read the whole ledger gets a month of it as CSV that sums to it; whoever sees a part gets none."""
    answer = plane.admin.get("/ledger/focus", month="2026-06")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "focus-cost-and-usage-2026-06.csv" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    june = (datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))
    assert sum(Decimal(row["BilledCost"]) for row in rows) * 10**9 == plane.authority.ledger.total_nanousd(*june) > 0
    assert {row["x_GrantPath"] for row in rows} >= {books.left, books.right}
    periods = plane.admin.get("/ledger/focus", month="2026-06", dataset="billing-period")
    assert "2026-06-01T00:00:00Z,Open,v" in periods.text
    for caller in (books.owner, books.stranger):
        refused(caller.get("/ledger/focus", month="2026-06"), 403, "not_permitted")
    refused(plane.admin.get("/ledger/focus", month="2026-13"), 400, "malformed_request")
    refused(plane.admin.get("/ledger/focus", month="2026-06", dataset="all"), 400, "malformed_request")


def test_entries_come_by_sequence_number(plane: Plane, books: Books) -> None:
    """Entries after a number, in pages, for an admin all and for an owner their own."""
    page = plane.admin.get("/ledger/entries", after=books.seqs[0] - 1, limit=2).json()
    assert [one["seq"] for one in page["entries"]] == books.seqs[:2] and page["next"] == books.seqs[1]
    rest = plane.admin.get("/ledger/entries", after=page["next"]).json()
    assert [one["seq"] for one in rest["entries"]] == books.seqs[2:] and rest["next"] is None
    own = books.owner.get("/ledger/entries").json()["entries"]
    assert [one["seq"] for one in own] == [books.seqs[0], books.seqs[2]]
    assert own[0]["amount_nanousd"] == 7 and len(own[0]["entry_hash"]) == 64
    assert books.stranger.get("/ledger/entries").json() == {"entries": [], "next": None}


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"by": "Team"}, "dimension_unknown"),
        ({"by": ""}, "dimension_unknown"),
        ({"by": "team;drop"}, "dimension_unknown"),
        ({"by": ",".join("abcdefghijklm")}, "malformed_request"),
        ({"since": "2026-06-01T12:00:00"}, "malformed_request"),
        ({"since": "yesterday"}, "malformed_request"),
        ({"format": "xml"}, "malformed_request"),
    ],
)
def test_a_report_of_nothing_known_is_refused(admin: Caller, params: dict[str, str], code: str) -> None:
    """Dimensions, instants and formats are read strictly."""
    refused(admin.get("/ledger/report", **params), 400, code)


def test_what_left_the_database_is_refused(plane: Plane, books: Books) -> None:
    """Entries before the last of those that left, and files and proofs for which the archive would be needed."""
    plane.insert(
        "INSERT INTO ledger_partitions (name, begins, ends, summed_seq, entries, amount_nanousd, dropped_at, last_seq)"
        " VALUES ('entries_2020_01', '2020-01-01', '2020-02-01', %(seq)s, 1, 1, now(), %(seq)s) RETURNING name",
        {"seq": books.seqs[1]},
    )
    try:
        body = refused(plane.admin.get("/ledger/entries"), 409, "archived")
        assert f"all after {books.seqs[1]} are here" in body["detail"]
        refused(books.owner.get("/ledger/entries", after=books.seqs[0]), 409, "archived")
        rest = plane.admin.get("/ledger/entries", after=books.seqs[1]).json()["entries"]
        assert rest[0]["seq"] == books.seqs[2]
        refused(plane.admin.get("/ledger/focus", month="2020-01"), 409, "archived")
    finally:
        plane.insert("DELETE FROM ledger_partitions WHERE name = 'entries_2020_01' RETURNING name", {})


@pytest.mark.parametrize("params", [{"after": -1}, {"after": 2**63}, {"limit": 0}, {"limit": 1001}, {"limit": "1.5"}])
@pytest.mark.parametrize("route", ["/ledger/entries", "/notifications"])
def test_pages_have_bounds(admin: Caller, route: str, params: dict[str, Any]) -> None:
    """A page is of 1 to 1000, after a number that can be one."""
    refused(admin.get(route, **params), 400, "malformed_request")


def test_notifications_are_those_of_ones_own_grants(plane: Plane, books: Books) -> None:
    """An owner sees notifications about their grants, an admin all, oldest first and in pages."""
    for path in (books.left, books.right):
        plane.insert(
            "INSERT INTO notifications (kind, audience, node_id, body, created_at, next_attempt_at)"
            " VALUES ('cap_reached', 'owner', %(node)s, '{\"limit\": 100}', now(), now()) RETURNING id",
            {"node": books.ids[path]},
        )
    own = books.owner.get("/notifications").json()["notifications"]
    assert [one["node_id"] for one in own] == [books.ids[books.left]] and own[0]["body"] == {"limit": 100}
    page = plane.admin.get("/notifications", after=own[0]["id"] - 1, limit=1).json()
    assert page["notifications"] == own and page["next"] == own[0]["id"]
    rest = plane.admin.get("/notifications", after=page["next"]).json()["notifications"]
    assert [one["node_id"] for one in rest] == [books.ids[books.right]]
    assert books.stranger.get("/notifications").json() == {"notifications": [], "next": None}


DEBT = """
INSERT INTO entries (id, kind, amount_nanousd, grant_id, grant_path, node_ids, block_ids, debtor_id, debt_period, class, owner,
                     tags, vendor, deployment, model_requested, price_source, usage_source, tokens, requests, request_id,
                     operation_id, hold_id, policy_version, decision_id, held_at, recorded_at, periods,
                     billing_month)
SELECT 'debt' || id, 'overdraft', 40, id, path, %(nodes)s, '{}', id, 'day', class, owner, '{}', 'v', 'd', 'm', 'test', 'vendor', 0,
       0, 'r', 'o', 'hold' || id, 1, 'd', now(), now(), '[]', booked_month(now())
FROM grants WHERE path = %(path)s
RETURNING seq
"""


def test_debts_and_findings_are_those_of_grants_one_sees(plane: Plane, books: Books) -> None:
    """The owner of a part sees what is owed and found there, an admin all, a stranger nothing."""
    for path in (books.left, books.right):
        plane.insert(DEBT, {"nodes": [books.ids[books.name], books.ids[path]], "path": path})

    def owed(caller: Caller) -> list[tuple[str, int]]:
        found = caller.get("/debts").json()["debts"]
        return [(one["path"], one["outstanding_nanousd"]) for one in found if one["path"].startswith(books.name)]

    def found(caller: Caller) -> set[str]:
        findings = caller.get("/findings", kind="children_near_parent").json()["findings"]
        return {one["path"] for one in findings if one["path"].startswith(books.name)}

    assert owed(books.owner) == [(books.left, 40)]
    assert owed(plane.admin) == [(books.left, 40), (books.right, 40)]
    assert owed(books.stranger) == []
    plane.admin.made(f"{books.left}/all", 95)
    assert found(plane.admin) == found(books.owner) == {books.left}
    assert found(books.stranger) == set()
    refused(books.owner.get("/findings", kind="nonsense"), 400, "malformed_request")
