"""A control plane that is connected to a workspace of Slack, a repository of GitHub and a project of Jira."""

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
from tests.api.support import Plane
from tests.notify.letters import SECRETS, TABLES

Posted = tuple[dict[str, str], bytes]


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


def wait_until(url: str, query: str, count: int) -> None:
    """Until the query counts so many, or half a minute."""
    with psycopg.connect(url, autocommit=True, options="-c search_path=remit") as connection:
        for _ in range(300):
            row = connection.execute(query.encode()).fetchone()
            if row is not None and row[0] >= count:
                return
            time.sleep(0.1)
    raise AssertionError(query)
