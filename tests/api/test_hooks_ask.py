"""A ticket is opened where people are: an issue with a form becomes one, and is where it is answered."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.api.connected import ANN, BOB, USD, Desk, Posted, wait_until
from tests.api.support import ref


@pytest.fixture(scope="module")
def shared() -> Iterator[Desk]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        yield Desk(stack, patch)


@pytest.fixture
def desk(shared: Desk) -> Desk:
    shared.slack.whispers.clear()
    return shared


class Issue:
    """An issue that somebody writes at a peer."""

    def __init__(self, desk: Desk, kind: str) -> None:
        self.desk, self.kind, number = desk, kind, secrets.randbelow(10**6) + 1_000
        self.ref = str(number) if kind == "github" else f"BUD-{number}"
        if kind == "github":
            desk.github.issues[number] = {"comments": [], "state": "open"}
        else:
            desk.jira.issues[self.ref] = {"comments": [], "status": "To Do", "fields": {}}

    def text(
        self,
        author: str,
        text: str,
        *,
        labels: tuple[str, ...] = ("remit",),
        edited_by: str | None = None,
        title_alone: bool = False,
    ) -> int:
        """The event of its being opened with a text, or edited (or of its title alone); the status that the hook answers."""
        desk, editor = self.desk, edited_by or author
        posted: Posted
        if self.kind == "github":
            issue = {"number": int(self.ref), "title": "more", "body": text, "user": {"login": author}}
            issue["labels"] = [{"name": one} for one in labels]
            more: dict[str, Any] = {"issue": issue}
            if edited_by is not None:
                more["changes"] = {"title" if title_alone else "body": {"from": ""}}
            event = "opened" if edited_by is None else "edited"
            posted = desk.github.event("issues", event, int(self.ref), editor, **more)
        else:
            fields: dict[str, Any] = {"summary": "more", "description": text, "labels": list(labels)}
            fields["creator"] = {"accountId": author}
            more = {"issue": {"key": self.ref, "fields": fields}}
            if edited_by is not None:
                field = "summary" if title_alone else "description"
                more["changelog"] = {"items": [{"field": field, "fromString": "", "toString": text}]}
            name = "jira:issue_created" if edited_by is None else "jira:issue_updated"
            posted = desk.jira.event(name, self.ref, editor, **more)
        return desk.post(self.kind, posted).status_code

    def comments(self) -> str:
        kept = self.desk.github.issues[int(self.ref)] if self.kind == "github" else self.desk.jira.issues[self.ref]
        return str(kept["comments"])

    def tickets(self) -> list[Any]:
        """What is kept under this issue."""
        statement = "SELECT ticket_id FROM ticket_threads WHERE channel = %s AND remote_ref = %s"
        return [
            self.desk.plane.admin.get(f"/tickets/{row[0]}").json()
            for row in self.desk.plane.sql(statement, self.kind, self.ref)
        ]

    def decide(self, who: str) -> int:
        if self.kind == "github":
            label = {"name": "remit:approve"}
            posted = self.desk.github.event("issues", "labeled", int(self.ref), who, label=label)
        else:
            items = [{"field": "labels", "fromString": "remit", "toString": "remit remit:approve"}]
            posted = self.desk.jira.event("jira:issue_updated", self.ref, who, changelog={"items": items})
        return self.desk.post(self.kind, posted).status_code


def form(kind: str, *lines: str) -> str:
    begin, end = ("```remit", "```") if kind == "github" else ("{code}", "{code}")
    return "\n".join(("We grow.", "", begin, *lines, end))


def increase(kind: str, leaf: str, limit: str = "200 usd per month") -> str:
    return form(kind, "kind: increase", f"grant: {leaf}", f"limit: {limit}", "reason: more users")


KINDS = ["github", "jira"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_issue_becomes_a_ticket_and_is_where_it_is_decided(desk: Desk, kind: str) -> None:
    """Its author asks; both know of each other; no second issue is made for it; a label there approves it."""
    leaf, issue = desk.leaf(), Issue(desk, kind)
    assert issue.text("ann-gh", increase(kind, leaf)) == 200
    (ticket,) = issue.tickets()
    assert (ticket["kind"], ticket["state"], ticket["requester"], ticket["assignees"]) == (
        "increase",
        "open",
        ANN,
        [BOB],
    )
    assert (ticket["path"], ticket["reason"]) == (leaf, "more users")
    assert ticket["evidence"]["asked_in"] == {"channel": kind, "ref": issue.ref}
    assert (
        ticket["events"][0]["source"] == kind
        and f"this is ticket {ticket['id']} now, an increase of {leaf} (" in issue.comments()
    )
    assert ticket["evidence"]["asks"] == ["limit per month: $100.00 -> $200.00"]
    assert ticket["evidence"]["asks"][0] in issue.comments()
    over = f"SELECT count(*) FROM deliveries WHERE ticket_id = '{ticket['id']}' AND state = 'delivered'"
    wait_until(desk.plane.url, over, 3)
    kept = f"SELECT count(*) FROM ticket_threads WHERE ticket_id = '{ticket['id']}'"
    assert desk.plane.sql(kept) == [(3,)] and issue.tickets() == [ticket]
    assert issue.text("ann-gh", increase(kind, leaf, "900 usd per month"), edited_by="ann-gh") == 200
    assert issue.tickets() == [ticket]
    assert issue.decide("ann-gh") == issue.decide("bob-gh") == 200
    assert desk.plane.admin.get(f"/grants/{ref(leaf)}").json()["limits"][0]["amount"] == 200 * USD


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_wrong_is_said_and_mended_by_editing(desk: Desk, kind: str) -> None:
    """A form that cannot be read, and a request that cannot be, are answered with why; the edited issue is read again."""
    leaf, issue = desk.leaf(), Issue(desk, kind)
    assert issue.text("ann-gh", increase(kind, leaf, "a lot")) == 200
    assert issue.tickets() == [] and "`a lot` is not a limit" in issue.comments()
    assert issue.text("ann-gh", increase(kind, leaf, "9000 usd per month"), edited_by="ann-gh") == 200
    assert issue.tickets() == [] and "no ticket was opened" in issue.comments()
    assert issue.text("ann-gh", increase(kind, leaf), edited_by="bob-gh") == 200
    assert issue.tickets() == []
    assert issue.text("ann-gh", increase(kind, leaf), edited_by="ann-gh") == 200
    assert [one["requester"] for one in issue.tickets()] == [ANN]


@pytest.mark.parametrize("kind", KINDS)
def test_who_edits_the_title_asks_for_nothing(desk: Desk, kind: str) -> None:
    """A text that somebody else wrote into one's issue is not read as one's own when one edits the title."""
    leaf, issue = desk.leaf(), Issue(desk, kind)
    assert issue.text("ann-gh", "We grow.") == 200
    assert issue.text("ann-gh", increase(kind, leaf), edited_by="mallory") == 200
    assert issue.text("ann-gh", increase(kind, leaf), edited_by="ann-gh", title_alone=True) == 200
    assert issue.tickets() == []
    assert issue.text("ann-gh", increase(kind, leaf), edited_by="ann-gh") == 200
    assert [one["requester"] for one in issue.tickets()] == [ANN]


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_asks_for_what_is_not_theirs(desk: Desk, kind: str) -> None:
    """A stranger, a colleague and an issue without the label open nothing; the colleague learns of no grant."""
    leaf = desk.leaf()
    for author, said in (("mallory", "does not know who you are"), ("eve-gh", f"there is no grant `{leaf}`")):
        issue = Issue(desk, kind)
        assert issue.text(author, increase(kind, leaf)) == 200
        assert issue.tickets() == [] and said in issue.comments() and BOB not in issue.comments()
    issue = Issue(desk, kind)
    assert issue.text("ann-gh", increase(kind, leaf), labels=()) == 200
    assert issue.tickets() == [] and issue.comments() == "[]"


def test_every_kind_can_be_asked_for(desk: Desk) -> None:
    """A renewal, a new grant, a transfer and a break-glass have forms as well; the worst case is said to who sees the grant."""
    leaf = desk.leaf()
    parent = leaf.rpartition("/")[0]
    desk.plane.admin.made(f"{parent}/other", 50 * USD, owner=ANN)
    desk.plane.admin.patch(leaf, expires_at="2098-01-01T00:00:00Z")
    asked = {
        "renew": ("kind: renew", f"grant: {leaf}", "for: 30d", "reason: goes on"),
        "grant": ("kind: grant", f"grant: {parent}/idea", "limit: 5 usd per month", "reason: an idea"),
        "transfer": (
            "kind: transfer", f"from: {parent}/other", f"grant: {leaf}", "limit: 5 usd per month", "reason: unused",
        ),
        "break_glass": ("kind: break-glass", f"grant: {leaf}", "usd: 10", "for: 2h", "reason: an incident"),
    }  # fmt: skip
    for kind, lines in asked.items():
        issue = Issue(desk, "github")
        assert issue.text("ann-gh", form("github", *lines)) == 200
        assert [(one["kind"], one["requester"]) for one in issue.tickets()] == [(kind, ANN)], issue.comments()
        assert ("a month); it waits for" in issue.comments()) == (kind != "grant"), issue.comments()
    (made,) = desk.plane.admin.get("/tickets", kind="grant").json()["tickets"]
    assert made["effect"]["new"]["owner"] == ANN
