"""What people do in Slack, GitHub and Jira, heard over HTTP."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from remit.notify.ports import Intent
from remit.store.connect import opener
from remit.store.postgres_deliveries import link_thread
from remit.testing.peers import github as github_peer
from remit.testing.peers import jira as jira_peer
from remit.testing.peers import slack as slack_peer
from remit.testing.peers.base import Fault
from tests.api.connected import Connected, Posted, wait_until
from tests.notify.letters import TICKET


class Recorder:
    """Carries intents out by writing them down; fails once if told to."""

    def __init__(self) -> None:
        self.intents: list[Intent] = []
        self.answer = ""
        self.fails = False

    def carry_out(self, intent: Intent) -> str:
        if self.fails:
            self.fails = False
            raise RuntimeError("the database went away")
        self.intents.append(intent)
        return self.answer


class Office(Connected):
    """Each peer keeps one ticket, and what is heard is written down."""

    def __init__(self, stack: ExitStack, patch: pytest.MonkeyPatch) -> None:
        self.decides = Recorder()
        super().__init__(stack, patch, self.decides)
        self.github.issues[4] = {"comments": []}
        self.jira.issues["BUD-4"] = {"comments": [], "status": "To Do", "fields": {}}
        with opener(self.plane.url, "remit_authority")() as connection:
            link_thread(connection, "github", "4", TICKET)
            link_thread(connection, "jira", "BUD-4", TICKET)

    def press(self, user: str = "U1", action: str = "remit_approve", **more: Any) -> Posted:
        return self.slack.press(user, "C1:1.1", action, TICKET, **{"at": self.now(), **more})

    def label(self, sender: str = "bob-gh", label: str = "remit:approve", **more: Any) -> Posted:
        return self.github.event("issues", "labeled", 4, sender, label={"name": label}, **more)

    def move(self, author: str = "bob-gh", status: str = "Approved") -> Posted:
        items = [{"field": "status", "fromString": "To Do", "toString": status}]
        return self.jira.event("jira:issue_updated", "BUD-4", author, changelog={"items": items})


@pytest.fixture(scope="module")
def shared() -> Iterator[Office]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        yield Office(stack, patch)


@pytest.fixture
def office(shared: Office) -> Office:
    """The office with nothing carried out yet."""
    shared.decides.intents.clear()
    shared.decides.answer = ""
    shared.slack.whispers.clear()
    shared.github.issues[4]["comments"].clear()
    shared.jira.issues["BUD-4"]["comments"].clear()
    return shared


def test_a_press_in_slack_decides(office: Office) -> None:
    """Who pressed is the member's e-mail; what Remit has to say only they see."""
    office.decides.answer = "approved"
    assert office.post("slack", office.press()).status_code == 200
    (intent,) = office.decides.intents
    assert (intent.source, intent.action, intent.person, intent.ticket_id) == (
        "slack", "approve", "bob@acme.example", TICKET,
    )  # fmt: skip
    assert office.slack.whispers == [{"channel": "C1", "user": "U1", "text": "approved"}]


@pytest.mark.parametrize(("label", "action"), [("remit:approve", "approve"), ("remit:decline", "decline")])
def test_a_label_on_github_decides(office: Office, label: str, action: str) -> None:
    """The issue is known by what Remit made it for, and its labels by their names."""
    assert office.post("github", office.label(label=label)).status_code == 200
    (intent,) = office.decides.intents
    assert (intent.action, intent.person, intent.ticket_id) == (action, "bob@acme.example", TICKET)
    office.post("github", office.label(label="bug"))
    assert len(office.decides.intents) == 1


@pytest.mark.parametrize(("status", "action"), [("Approved", "approve"), ("Declined", "decline")])
def test_a_transition_in_jira_decides(office: Office, status: str, action: str) -> None:
    """Moving an issue to the status of the settings is the decision; a label is one as well."""
    assert office.post("jira", office.move(status=status)).status_code == 200
    items = [{"field": "labels", "fromString": "remit", "toString": f"remit remit:{action}"}]
    office.post("jira", office.jira.event("jira:issue_updated", "BUD-4", "bob-gh", changelog={"items": items}))
    assert [(one.action, one.person) for one in office.decides.intents] == [(action, "bob@acme.example")] * 2


def test_comments_closing_and_requests_are_heard(office: Office) -> None:
    """What is written is a comment, closing withdraws, and an issue with the label `remit` is a request."""
    asks = {"number": 9, "title": "more for research", "body": "$500 a day", "labels": [{"name": "remit"}]}
    asks["user"] = {"login": "ann-gh"}
    office.post("github", office.github.event("issue_comment", "created", 4, "ann-gh", comment={"body": "why?"}))
    office.post("github", office.github.event("issues", "closed", 4, "ann-gh"))
    office.post("github", office.github.event("issues", "reopened", 4, "ann-gh"))
    office.post("github", office.github.event("issues", "opened", 9, "ann-gh", issue=asks))
    author = {"accountId": "ann-gh"}
    office.post("jira", office.jira.event("comment_created", "BUD-4", "x", comment={"author": author, "body": "ok"}))
    fields = {"summary": "more", "description": None, "labels": ["remit"]}
    office.post(
        "jira", office.jira.event("jira:issue_created", "BUD-9", "ann-gh", issue={"key": "BUD-9", "fields": fields})
    )
    assert [(one.action, one.text, one.remote_ref) for one in office.decides.intents] == [
        ("comment", "why?", "4"),
        ("withdraw", "the issue was closed", "4"),
        ("comment", "the issue was reopened", "4"),
        ("open", "more for research\n\n$500 a day", "9"),
        ("comment", "ok", "BUD-4"),
        ("open", "more", "BUD-9"),
    ]
    assert {one.person for one in office.decides.intents} == {"ann@acme.example"}


def test_who_is_not_known_decides_nothing_and_is_told(office: Office) -> None:
    """A stranger, a guest of another workspace and a bot decide nothing; a comment of a stranger is not answered."""
    office.slack.member("U8", "bob@acme.example", team="T0666")
    office.slack.member("U9", "bob@acme.example", is_bot=True)
    for user in ("U8", "U9", "U404"):
        assert office.post("slack", office.press(user)).status_code == 200
    office.post("github", office.label("mallory"))
    office.post("github", office.github.event("issue_comment", "created", 4, "mallory", comment={"body": "hm"}))
    office.post("jira", office.move("mallory"))
    assert office.decides.intents == []
    assert len(office.slack.whispers) == 3
    (said,) = office.github.issues[4]["comments"]
    assert "does not know who you are" in said and len(office.jira.issues["BUD-4"]["comments"]) == 1


def test_what_remit_and_other_machines_do_is_not_heard(office: Office) -> None:
    """An echo of our own comment or closing is no intent and gets no answer, so nothing goes round."""
    office.post("github", office.label("remit-bot"))
    office.post("github", office.github.event("issues", "closed", 4, "remit-bot"))
    office.post("github", office.label("bob-gh", performer="Bot"))
    office.post("jira", office.move("remit-jira"))
    assert office.decides.intents == [] and office.github.issues[4]["comments"] == []


def test_the_same_body_is_carried_out_once(office: Office) -> None:
    """Also with another delivery id in its header, which nobody signed."""
    for kind, posted in (("slack", office.press()), ("github", office.label()), ("jira", office.move())):
        office.decides.intents.clear()
        assert office.post(kind, posted).status_code == 200
        again = ({**posted[0], "x-github-delivery": "fresh"}, posted[1])
        assert office.post(kind, again).status_code == 200
        assert len(office.decides.intents) == 1


def test_what_could_not_be_carried_out_is_heard_when_it_comes_again(office: Office) -> None:
    """A failure leaves nothing behind that would make the repetition a replay."""
    posted = office.label()
    office.decides.fails = True
    assert office.post("github", posted).status_code == 500
    assert office.post("github", posted).status_code == 200
    assert len(office.decides.intents) == 1


def test_an_author_who_cannot_be_looked_up_is_asked_for_again(office: Office) -> None:
    """Slack shows the person that the press was not taken; pressed again it is."""
    posted = office.press()
    office.slack.faults.append(Fault(status=500))
    assert office.post("slack", posted).status_code == 503
    assert office.post("slack", posted).status_code == 200
    assert len(office.decides.intents) == 1


FORGED: dict[str, Callable[[Office], tuple[str, Posted]]] = {
    "slack, another secret": lambda o: ("slack", slack_peer.signed(o.press()[1], o.now(), b"x" * 32)),
    "slack, stale": lambda o: ("slack", o.press(at=o.now() - 301)),
    "slack, from the future": lambda o: ("slack", o.press(at=o.now() + 310)),
    "slack, another timestamp": lambda o: (
        "slack", ({**o.press(at=o.now() - 400)[0], "x-slack-request-timestamp": str(o.now())}, o.press()[1]),
    ),
    "slack, another workspace": lambda o: ("slack", o.press(team="T0666")),
    "slack, changed": lambda o: ("slack", (o.press()[0], o.press(action="remit_decline")[1])),
    "slack, unsigned": lambda o: ("slack", ({}, o.press()[1])),
    "github, another secret": lambda o: ("github", github_peer.signed(o.label()[1], "issues", "d", b"x" * 32)),
    "github, another repository": lambda o: ("github", o.label(repository="evil/budgets")),
    "github, unsigned": lambda o: ("github", ({"x-github-event": "issues"}, o.label()[1])),
    "github, not ascii": lambda o: ("github", ({**o.label()[0], "x-hub-signature-256": "sha256=\u00e9"}, o.label()[1])),
    "jira, another secret": lambda o: ("jira", jira_peer.signed(o.move()[1], b"x" * 32)),
    "jira, another project": lambda o: ("jira", o.jira.event("jira:issue_updated", "EVIL-4", "bob-gh")),
    "a signature for another kind": lambda o: ("jira", o.label()),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
def test_what_is_not_genuine_is_refused(office: Office, case: str) -> None:
    """Wrong, old, moved or missing signatures get 401, before anything of the body is read."""
    kind, posted = FORGED[case](office)
    headers = {name.encode(): value.encode("latin-1") for name, value in posted[0].items()}
    answer = office.http.post(f"/hooks/{kind}", headers=list(headers.items()), content=posted[1])
    assert answer.status_code == 401, answer.text
    assert answer.json()["code"] == "unauthenticated" and office.decides.intents == []


def test_what_is_too_large_or_cannot_be_read_is_refused(office: Office) -> None:
    """A bound on the body, signed or not; genuine nonsense is 400 and not 500; an unknown system is no route."""
    large = github_peer.signed(b" " * (512 * 1024 + 1), "issues", "d")
    assert office.post("github", large).status_code == 413
    for body in (b"{", b"[]", b'{"repository": 7}', b"\xff"):
        assert office.post("github", github_peer.signed(body, "issues", "d")).status_code == 400
    for body in (b"payload=%7B", b"nothing", b"payload=%5B%5D"):
        assert office.post("slack", slack_peer.signed(body, office.now())).status_code == 400
    assert office.post("jira", jira_peer.signed(json.dumps([]).encode())).status_code == 400
    assert office.post("gitlab", office.label()).status_code == 404


def test_dead_letters_are_listed_and_retried_over_the_api(office: Office) -> None:
    """By admins only; a retry is a write with an idempotency key, and finds nothing a second time."""
    with psycopg.connect(office.plane.url, autocommit=True, options="-c search_path=remit") as connection:
        row = connection.execute(
            "INSERT INTO notifications (kind, audience, node_id, body, created_at, next_attempt_at)"
            " VALUES ('suspense', 'owner', 'grant_y', '{}', now(), now()) RETURNING id"
        ).fetchone()
        assert row is not None
        connection.execute(
            "INSERT INTO deliveries (notification_id, channel, state, attempts, next_attempt_at, error, created_at)"
            " VALUES (%s, 'github', 'dead', 12, now(), 'answered 403', now())", row,
        )  # fmt: skip
    admin, owner = office.plane.admin, office.plane.caller("owner@acme.example")
    (letter,) = admin.get("/notifications/dead").json()["dead"]
    assert (letter["id"], letter["channel"], letter["error"]) == (row[0], "github", "answered 403")
    retry = f"/notifications/{row[0]}/retry"
    assert owner.get("/notifications/dead").status_code == owner.write("POST", retry).status_code == 403
    assert admin.write("POST", retry).json() == {"id": row[0], "channels": ["github"]}
    assert admin.write("POST", retry).json()["code"] == "unknown_dead_letter"
    assert admin.get("/notifications/dead").json() == {"dead": [], "next": None}


def test_upkeep_carries_to_every_channel_of_the_settings(office: Office) -> None:
    """A thread each: what is written while upkeep runs arrives in Slack, GitHub and Jira."""
    upkeep = office.plane.authority.upkeep()
    before = [len(office.slack.messages), len(office.github.issues), len(office.jira.issues)]
    delivered = (
        "SELECT count(*) FROM deliveries JOIN notifications AS n ON n.id = notification_id"
        " WHERE state = 'delivered' AND n.kind = 'overdraft'"
    )
    upkeep.start()
    try:
        known = "SELECT count(*) FROM channels"
        wait_until(office.plane.url, known, 3)
        with psycopg.connect(office.plane.url, autocommit=True, options="-c search_path=remit") as connection:
            connection.execute(
                "INSERT INTO notifications (kind, audience, node_id, body, created_at, next_attempt_at)"
                " VALUES ('overdraft', 'owner', 'grant_z', '{}', now(), now())"
            )
        wait_until(office.plane.url, delivered, 3)
    finally:
        upkeep.stop()
    after = [len(office.slack.messages), len(office.github.issues), len(office.jira.issues)]
    assert all(now > then for now, then in zip(after, before, strict=True))
