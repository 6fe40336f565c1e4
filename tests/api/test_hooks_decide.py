"""What people do in Slack, GitHub and Jira, all the way: over HTTP to the tickets, the tree, and back to them."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from remit.testing.peers import github as github_peer
from remit.testing.peers import jira as jira_peer
from remit.testing.peers import slack as slack_peer
from tests.api.connected import Connected, Posted, wait_until
from tests.api.support import Caller, ref, usd

ANN, BOB, EVE = (f"{name}@acme.example" for name in ("ann", "bob", "eve"))
PEOPLE = {ANN: "ann-gh", BOB: "bob-gh", EVE: "eve-gh"}
MEMBERS = {"ann-gh": "U3", "bob-gh": "U1", "eve-gh": "U2"}
USD = 1_000_000_000


class Desk(Connected):
    """Ann owns leaves below bob's grants; eve owns nothing. Whatever is opened is carried to all three peers."""

    def __init__(self, stack: ExitStack, patch: pytest.MonkeyPatch) -> None:
        super().__init__(stack, patch, people=PEOPLE)
        self.slack.member("U2", EVE)
        self.slack.member("U3", ANN)
        self.ann, self.bob = self.plane.caller(ANN), self.plane.caller(BOB)
        upkeep = self.plane.authority.upkeep()
        upkeep.start()
        stack.callback(upkeep.stop)
        wait_until(self.plane.url, "SELECT count(*) FROM channels", 3)

    def leaf(self) -> str:
        name = f"org{secrets.token_hex(4)}"
        self.plane.admin.made(name, 1000 * USD)
        self.plane.admin.made(f"{name}/team", 500 * USD, owner=BOB)
        self.plane.admin.made(f"{name}/team/leaf", 100 * USD, owner=ANN)
        return f"{name}/team/leaf"

    def ask(self, caller: Caller) -> "Asked":
        leaf = self.leaf()
        body = {"grant": leaf, "limits": [usd(200 * USD)], "reason": "more users"}
        ticket = caller.write("POST", "/tickets/increase", body)
        assert ticket.status_code == 201, ticket.text
        return Asked(self, leaf, ticket.json()["id"])


class Asked:
    """An increase from $100 to $200 that waits, and where the peers have it."""

    def __init__(self, desk: Desk, leaf: str, ticket: str) -> None:
        self.desk, self.leaf, self.id = desk, leaf, ticket
        threads = f"SELECT count(*) FROM ticket_threads WHERE ticket_id = '{ticket}'"
        wait_until(desk.plane.url, threads, 3)
        rows = desk.plane.sql("SELECT channel, remote_ref FROM ticket_threads WHERE ticket_id = %s", ticket)
        self.refs = {str(channel): str(there) for channel, there in rows}

    def by(self, kind: str, who: str, verb: str = "approve") -> Posted:
        """The deed of a person at a peer."""
        desk = self.desk
        if kind == "slack":
            return desk.slack.press(MEMBERS[who], self.refs["slack"], f"remit_{verb}", self.id, at=desk.now())
        if kind == "github":
            label = {"name": f"remit:{verb}"}
            return desk.github.event("issues", "labeled", int(self.refs["github"]), who, label=label)
        status = {"approve": "Approved", "decline": "Declined"}[verb]
        items = [{"field": "status", "fromString": "To Do", "toString": status}]
        return desk.jira.event("jira:issue_updated", self.refs["jira"], who, changelog={"items": items})

    def said(self, kind: str) -> str:
        """Everything the peer was told in answer, in one text."""
        desk = self.desk
        if kind == "slack":
            return str(desk.slack.whispers)
        if kind == "github":
            return str(desk.github.issues[int(self.refs["github"])]["comments"])
        return str(desk.jira.issues[self.refs["jira"]]["comments"])

    def state(self) -> tuple[str, int, int]:
        """The ticket's state, the grant's dollars, and how many revisions the grant has."""
        grant = self.desk.plane.admin.get(f"/grants/{ref(self.leaf)}").json()
        ticket = self.desk.plane.admin.get(f"/tickets/{self.id}").json()
        return ticket["state"], grant["limits"][0]["amount"] // USD, grant["revision"]

    def events(self) -> list[tuple[str, str, str]]:
        events = self.desk.plane.admin.get(f"/tickets/{self.id}").json()["events"]
        return [(one["who"], one["what"], one["source"]) for one in events]


OPEN = ("open", 100, 1)
KINDS = ["slack", "github", "jira"]


@pytest.fixture(scope="module")
def shared() -> Iterator[Desk]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        yield Desk(stack, patch)


@pytest.fixture
def desk(shared: Desk) -> Desk:
    shared.slack.whispers.clear()
    return shared


@pytest.mark.parametrize("kind", KINDS)
def test_a_decision_there_is_carried_out_here_once(desk: Desk, kind: str) -> None:
    """The owner above approves at a peer: the limit is higher, with one revision, also when it is heard again; they are told."""
    asked = desk.ask(desk.ann)
    posted = asked.by(kind, "bob-gh")
    for _ in range(2):
        assert desk.post(kind, posted).status_code == 200
    assert asked.state() == ("approved", 200, 2)
    assert asked.events() == [(ANN, "opened", "api"), (BOB, "approved", kind)]
    assert "approved by bob@acme.example" in asked.said(kind)
    rows = desk.plane.sql("SELECT changed_by FROM grant_revisions WHERE idempotency_key = %s", f"ticket:{asked.id}")
    assert rows == [(BOB,)]
    assert desk.post(kind, asked.by(kind, "bob-gh", "decline")).status_code == 200
    assert asked.state() == ("approved", 200, 2) and "was approved by" in asked.said(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_no_there_ends_it_here(desk: Desk, kind: str) -> None:
    """Declining changes no grant, and every peer shows that it is over."""
    asked = desk.ask(desk.ann)
    assert desk.post(kind, asked.by(kind, "bob-gh", "decline")).status_code == 200
    assert asked.state() == ("declined", 100, 1)
    over = f"SELECT count(*) FROM deliveries WHERE ticket_id = '{asked.id}' AND state = 'delivered'"
    wait_until(desk.plane.url, over, 6)
    issue, (room, _, ts) = desk.github.issues[int(asked.refs["github"])], asked.refs["slack"].partition(":")
    assert issue["state"] == "closed" and desk.jira.issues[asked.refs["jira"]]["status"] == "Declined"
    assert "remit_approve" not in str(desk.slack.messages[room, ts])


@pytest.mark.parametrize("kind", KINDS)
def test_who_may_not_decide_decides_nothing_there_either(desk: Desk, kind: str) -> None:
    """A colleague who stands above nothing, and whoever asked, have no effect and are told why."""
    asked = desk.ask(desk.ann)
    for who, why in (("eve-gh", "it waits for bob@acme.example"), ("ann-gh", "nobody decides their own request")):
        for verb in ("approve", "decline"):
            assert desk.post(kind, asked.by(kind, who, verb)).status_code == 200
            assert asked.state() == OPEN
        assert why in asked.said(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_an_admin_who_asked_does_not_decide_it_there(desk: Desk, kind: str) -> None:
    """Being an admin here adds nothing to a label or a button; nor does another spelling of one's address."""
    desk.plane.token(EVE, is_admin=True)
    asked = desk.ask(desk.plane.caller(EVE.upper().replace("ACME.EXAMPLE", "acme.example"), is_admin=True))
    assert desk.post(kind, asked.by(kind, "eve-gh")).status_code == 200
    assert asked.state() == OPEN and "nobody decides their own request" in asked.said(kind)


FORGED: dict[str, Callable[[Posted, int], Posted]] = {
    "slack": lambda posted, now: slack_peer.signed(posted[1], now, b"x" * 32),
    "github": lambda posted, _: github_peer.signed(posted[1], "issues", "d", b"x" * 32),
    "jira": lambda posted, _: jira_peer.signed(posted[1], b"x" * 32),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_signed_decides_nothing(desk: Desk, kind: str) -> None:
    """The right words with another secret get 401 and leave everything as it is."""
    asked = desk.ask(desk.ann)
    assert desk.post(kind, FORGED[kind](asked.by(kind, "bob-gh"), desk.now())).status_code == 401
    assert asked.state() == OPEN and asked.events() == [(ANN, "opened", "api")]


def test_a_stranger_decides_nothing_and_is_told(desk: Desk) -> None:
    """Who is nobody here has no effect, in any of the three."""
    asked = desk.ask(desk.ann)
    desk.slack.member("U9", "mallory@evil.example", team="T0666")
    presses = desk.slack.press("U9", asked.refs["slack"], "remit_approve", asked.id, at=desk.now())
    assert desk.post("slack", presses).status_code == 200
    for kind in ("github", "jira"):
        assert desk.post(kind, asked.by(kind, "mallory")).status_code == 200
        assert "does not know who you are" in asked.said(kind)
    assert asked.state() == OPEN and "does not know who you are" in asked.said("slack")


def test_what_gives_more_by_now_is_said_and_not_done(desk: Desk) -> None:
    """A label on a ticket whose grant was cut meanwhile changes nothing; set once more it counts."""
    asked = desk.ask(desk.ann)
    assert desk.plane.admin.patch(asked.leaf, limits=[usd(10 * USD)]).status_code == 200
    assert desk.post("github", asked.by("github", "bob-gh")).status_code == 200
    assert asked.state() == ("open", 10, 2) and "$10.00 -> $200.00 a month" in asked.said("github")
    assert desk.post("github", asked.by("github", "bob-gh")).status_code == 200
    assert asked.state() == ("approved", 200, 3)


def test_comments_and_closing_are_the_tickets(desk: Desk) -> None:
    """A comment at one peer stands in the thread here, and is said at the others with who said it; closing takes it back."""
    asked = desk.ask(desk.ann)
    number = int(asked.refs["github"])
    said: dict[str, Any] = {"body": "what is it for?"}
    assert desk.post("github", desk.github.event("issue_comment", "created", number, "bob-gh", comment=said)).is_success
    wait_until(
        desk.plane.url,
        f"SELECT count(*) FROM deliveries WHERE ticket_id = '{asked.id}' AND state = 'delivered'",
        6,
    )
    assert "bob@acme.example: what is it for?" in asked.said("jira")
    assert desk.post("github", desk.github.event("issues", "closed", number, "bob-gh")).status_code == 200
    assert asked.state() == OPEN
    assert desk.post("github", desk.github.event("issues", "closed", number, "ann-gh")).status_code == 200
    assert asked.state() == ("withdrawn", 100, 1)
    assert asked.events()[1:] == [(BOB, "commented", "github"), (ANN, "withdrawn", "github")]
