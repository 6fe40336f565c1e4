"""What people do in Slack, GitHub and Jira, all the way: over HTTP to the tickets, the tree, and back to them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from remit.testing.peers import github as github_peer
from remit.testing.peers import jira as jira_peer
from remit.testing.peers import slack as slack_peer
from tests.api.connected import ANN, BOB, EVE, USD, Desk, Posted, wait_until
from tests.api.support import usd

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
    assert "Take the label `remit:approve` off and set it again" in asked.said("github")
    assert desk.post("github", asked.by("github", "bob-gh")).status_code == 200
    assert asked.state() == ("approved", 200, 3)


def test_in_jira_a_label_or_a_status_is_set_again(desk: Desk) -> None:
    """What stands there already is heard no second time, and the comment says so."""
    asked = desk.ask(desk.ann)
    assert desk.plane.admin.patch(asked.leaf, limits=[usd(10 * USD)]).status_code == 200
    assert desk.post("jira", asked.by("jira", "bob-gh")).status_code == 200
    assert asked.state() == ("open", 10, 2) and "or move the issue back and here again" in asked.said("jira")


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
