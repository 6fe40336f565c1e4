"""Totals, forecasts, unit costs, coverage and budgets over HTTP: exact, and of no more than one may see."""

from typing import Any

import pytest

from tests.api.support import Caller, Plane, refused
from tests.api.test_books import Books

SINCE, UNTIL = "2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z"


@pytest.fixture
def books(plane: Plane, name: str) -> Books:
    return Books(plane, name)


def got(caller: Caller, route: str, **params: Any) -> dict[str, Any]:
    answer = caller.get(f"/ledger/{route}", **params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_total_is_of_what_one_sees(plane: Plane, books: Books) -> None:
    """An owner's total is their subtree's, a stranger's is nothing, an admin's of that root is all of it."""
    june = {"since": SINCE, "until": UNTIL}
    assert got(books.owner, "total", **june)["sums"]["amount_nanousd"] == 9
    assert got(books.stranger, "total", **june)["sums"]["amount_nanousd"] == 0
    found = got(plane.admin, "total", under=books.name, **june)
    assert found["sums"]["amount_nanousd"] == 20 == sum(row["amount_nanousd"] for row in found["by_vendor"])
    assert found["previous"] == {"since": "2026-05-01T00:00:00Z", "until": SINCE} and found["previous_to_date"] is None
    assert got(plane.admin, "total", period="month", under=books.name)["previous_to_date"] is not None
    for wrong in (
        {"since": SINCE},
        {**june, "period": "year"},
        {"since": UNTIL, "until": SINCE},
        {"period": "week"},
        {"since": "0001-01-01T00:00:00Z", "until": UNTIL},
        {"since": SINCE, "until": "9999-12-31T23:59:59Z"},
    ):
        refused(plane.admin.get("/ledger/total", **wrong), 400, "malformed_request")


def test_unit_costs_and_coverage(books: Books) -> None:
    """By any dimension, null where there is nothing to divide by, and with who lacks which tag."""
    found = got(books.owner, "units", by="feature")
    assert {row["group"][0]: (row["per_request_nanousd"], row["cache_hit_ppm"]) for row in found["rows"]} == {
        "a": (7, None),
        "b": (2, None),
    }
    assert found["total"]["per_1k_tokens_nanousd"] == 1500
    assert got(books.stranger, "units")["total"]["per_request_nanousd"] is None
    lost = got(books.owner, "coverage", tags="team,experiment")
    assert (lost["charged_nanousd"], lost["unattributed_nanousd"], lost["unattributed_ppm"]) == (9, 9, 1_000_000)
    assert [(one["grant"], one["tags"]) for one in lost["missing"]] == [(books.left, ["experiment"])]
    refused(books.owner.get("/ledger/units", by="Team!"), 400, "dimension_unknown")
    refused(books.owner.get("/ledger/coverage", tags="a!"), 400, "dimension_unknown")
    refused(books.owner.get("/ledger/units", by=",".join("abcdefghijklm")), 400, "malformed_request")


def test_a_name_that_nothing_has_is_remarked_on(plane: Plane, books: Books) -> None:
    """Whatever is asked by or restricted to it; a tag that only others have, whose ledger one does not see, is unknown."""
    said = ["no entry has a tag `onwer`; did you mean `owner`?"]
    for route in ("report", "units", "forecast"):
        for asked in ({"by": "onwer"}, {"by": "owner", "only": "onwer=x"}):
            assert got(books.owner, route, **asked)["remarks"] == said, (route, asked)
        assert got(books.owner, route, by="owner,team", only="team=")["remarks"] == []
    assert got(books.owner, "coverage", tags="team,onwer")["remarks"] == said
    books.spend(plane, books.right, 1, '{"only_right": "y"}')
    assert got(books.owner, "units", by="only_right")["remarks"] == ["no entry has a tag `only_right`"]
    assert got(plane.admin, "units", by="only_right")["remarks"] == []


def test_a_forecast_takes_two_weeks(books: Books) -> None:
    """With less, what is expected is null; times are no groups of a month."""
    found = got(books.owner, "forecast", by="grant")
    assert found["total"]["expected_nanousd"] is None and found["band_percent"] == 90
    assert got(books.owner, "forecast")["rows"] == []
    refused(books.owner.get("/ledger/forecast", by="day"), 400, "dimension_unknown")
    refused(books.owner.get("/ledger/forecast", by="Team!"), 400, "dimension_unknown")


def test_a_budget_has_the_limits_one_sees(plane: Plane, books: Books) -> None:
    """An owner sees the lines of their own grants, and of no other one."""
    assert [one["path"] for one in got(books.owner, "budget")["lines"]] == [books.left]
    assert got(books.stranger, "budget") == {"lines": []}
    lines = got(plane.admin, "budget", under=books.name)["lines"]
    assert [(one["path"], one["limit_nanousd"]) for one in lines] == [
        (books.name, 1000),
        (books.left, 100),
        (books.right, 100),
    ]
    refused(books.owner.get("/ledger/budget", under=books.right), 404, "grant_unknown")
