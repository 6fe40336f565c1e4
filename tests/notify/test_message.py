"""Notifications in words."""

import pytest

from tests.notify.letters import message, page, ticket


def test_a_ticket_asks_in_one_sentence() -> None:
    """Who asks, for how much instead of what, where, by when, and what can be done."""
    assert message().text == (
        "ann@acme.example asks for $58,000 a month instead of $41,000 on `acme/research` (two new projects);"
        " due Friday; approve or decline"
    )
    assert message().recipients == ("bob@acme.example",)


def test_a_decision_says_by_whom_and_why() -> None:
    """The decided ticket's text begins with what became of it."""
    told = message("ticket_decided", ticket=ticket("approved"))
    assert told.text.startswith("approved by bob@acme.example: fits the plan (ann@acme.example asks for $58,000")


@pytest.mark.parametrize(
    ("kind", "told"),
    [("ticket_opened", True), ("ticket_escalated", True), ("ticket_decided", False), ("ticket_commented", False)],
)
def test_the_worst_case_is_for_who_is_asked(kind: str, told: bool) -> None:
    """Whoever asked may not see the grants whose limits it comes from."""
    asked = ticket(evidence={"exposure": {"text": "$0.00 -> $777.00 a month"}})
    assert ("worst case" in dict(message(kind, ticket=asked).facts)) is told


@pytest.mark.parametrize(
    ("due", "word"),
    [("2027-03-03T23:00", "today"), ("2027-03-04T01:00", "tomorrow"), ("2027-03-20T01:00", "2027-03-20")],
)
def test_a_due_time_is_said_as_people_say_it(due: str, word: str) -> None:
    """Days near by have names, others dates."""
    assert f"due {word};" in message(ticket=ticket(due_at=f"{due}:00+00:00")).text


def test_a_page_says_how_much_of_what() -> None:
    """Amounts are dollars, and the facts name the grant and its owner."""
    told = page()
    assert told.text == "acme/prod has reached a limit: $90 of $100"
    assert dict(told.facts) == {"grant": "acme/prod", "posted": "$90", "limit": "$100", "owner": "ann@acme.example"}
    assert page(audience="owner").recipients == ("ann@acme.example",)


def test_a_title_is_one_line() -> None:
    """Line breaks in what somebody named do not get into subjects."""
    told = page(body={"path": "x"}, path="acme\r\nbcc: eve@evil.example")
    assert "\n" not in told.title and "\r" not in told.title
