"""A control plane that is connected to a workspace of Slack, a repository of GitHub and a project of Jira."""

import secrets
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest

from remit.notify.ports import Decides
from remit.testing.peers import github as github_peer
from remit.testing.peers import jira as jira_peer
from remit.testing.peers import slack as slack_peer
from tests.api.support import Caller, Plane, ref, usd
from tests.notify.letters import SECRETS, TABLES

Posted = tuple[dict[str, str], bytes]
ANN, BOB, EVE = (f"{name}@acme.example" for name in ("ann", "bob", "eve"))
PEOPLE = {ANN: "ann-gh", BOB: "bob-gh", EVE: "eve-gh"}
MEMBERS = {"ann-gh": "U3", "bob-gh": "U1", "eve-gh": "U2"}
USD = 1_000_000_000


class Connected:
    """Peers, and a plane whose channels they are. Intents go to `decides`, or to the tickets there."""

    def __init__(
        self, stack: ExitStack, patch: pytest.MonkeyPatch, decides: Decides | None = None, **more: Any
    ) -> None:
        self.slack = stack.enter_context(slack_peer.SlackPeer())
        self.github = stack.enter_context(github_peer.GitHubPeer())
        self.jira = stack.enter_context(jira_peer.JiraPeer())
        for name, secret in SECRETS.items():
            patch.setenv(name, secret)
        heard = {
            "slack": (self.slack.url, {"workspace": slack_peer.WORKSPACE}),
            "github": (self.github.url, {"own_account": "remit-bot", **more}),
            "jira": (self.jira.url, {"own_account": "remit-jira", **more}),
        }
        channels = [
            {
                "name": type_, "type": type_, "base_url": url, **TABLES[type_], **own,
                "signing_secret_env": f"{type_.upper()}_SIGNING",
            }
            for type_, (url, own) in heard.items()
        ]  # fmt: skip
        self.plane = stack.enter_context(Plane(decides, channels=channels, sweep_seconds=0.2))
        self.http = stack.enter_context(httpx.Client(base_url=self.plane.server.url, timeout=60))
        self.slack.member("U1", "bob@acme.example")

    def post(self, kind: str, posted: Posted) -> httpx.Response:
        return self.http.post(f"/hooks/{kind}", headers=posted[0], content=posted[1])

    def now(self) -> int:
        return int(datetime.now(UTC).timestamp())


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


def wait_until(url: str, query: str, count: int) -> None:
    """Until the query counts so many, or half a minute."""
    with psycopg.connect(url, autocommit=True, options="-c search_path=remit") as connection:
        for _ in range(300):
            row = connection.execute(query.encode()).fetchone()
            if row is not None and row[0] >= count:
                return
            time.sleep(0.1)
    raise AssertionError(query)
