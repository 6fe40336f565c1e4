"""Messages and channels that tests use."""

from datetime import UTC, datetime
from typing import Any

from remit.channel_settings import ChannelSettings
from remit.kernel.clock import Clock
from remit.notify.channels import OpenChannel, open_channel
from remit.notify.message import to_message
from remit.notify.ports import Message
from remit.testing.clock import ManualClock
from remit.testing.peers import github, jira, pagers, slack

NOW = datetime(2027, 3, 3, 9, 0, tzinfo=UTC)  # a Wednesday
TICKET = "ticket_01k9zq4v6n8m3t5r7w2x0y1z3a"
SECRETS = {
    "SLACK": slack.TOKEN,
    "SLACK_SIGNING": slack.SIGNING_SECRET.decode(),
    "GITHUB": github.TOKEN,
    "GITHUB_SIGNING": github.SIGNING_SECRET.decode(),
    "JIRA": jira.TOKEN,
    "JIRA_SIGNING": jira.SIGNING_SECRET.decode(),
    "PAGERDUTY": pagers.ROUTING_KEY,
    "OPSGENIE": pagers.GENIE_KEY,
    "EVENTS_SIGNING": "sixteen bytes and more",
}
PEOPLE = {"bob@acme.example": "bob-gh", "ann@acme.example": "ann-gh"}
TABLES: dict[str, dict[str, Any]] = {
    "slack": {"token_env": "SLACK", "channel": "C1"},
    "github": {"token_env": "GITHUB", "repository": github.REPOSITORY, "people": PEOPLE},
    "jira": {"token_env": "JIRA", "project": jira.PROJECT, "user": jira.USER, "people": PEOPLE},
    "events": {"signing_secret_env": "EVENTS_SIGNING"},
    "pagerduty": {"token_env": "PAGERDUTY"},
    "opsgenie": {"token_env": "OPSGENIE"},
}


def opened(type_: str, url: str, clock: Clock | None = None, **more: Any) -> OpenChannel:
    """A channel of this type whose API is at the URL."""
    table: dict[str, Any] = {"name": type_, "type": type_, "base_url": url, **TABLES[type_], **more}
    return open_channel(ChannelSettings(**table), clock or ManualClock(NOW), SECRETS)


def ticket(state: str = "open", **more: Any) -> dict[str, Any]:
    """A ticket as the claim of a delivery has it."""
    return {
        "id": TICKET,
        "state": state,
        "kind": "increase",
        "path": "acme/research",
        "requester": "ann@acme.example",
        "assignees": ["bob@acme.example"],
        "due_at": "2027-03-05T17:00:00+00:00",
        "reason": "two new projects",
        "decided_by": None if state == "open" else "bob@acme.example",
        "decision_reason": None if state == "open" else "fits the plan",
        "evidence": {
            "limit_change": {
                "dimension": "usd", "period": "month", "before": 41_000 * 10**9, "after": 58_000 * 10**9,
            }
        },
        **more,
    }  # fmt: skip


def row(kind: str = "ticket_opened", **more: Any) -> dict[str, Any]:
    """A claimed notification."""
    return {
        "id": 7,
        "kind": kind,
        "audience": "named",
        "recipients": ["bob@acme.example"],
        "path": None,
        "dimension": "",
        "threshold": 0,
        "body": {},
        "created_at": NOW,
        "ticket": ticket(),
        "thread": None,
        "so_far": None,
        **more,
    }


def message(kind: str = "ticket_opened", **more: Any) -> Message:
    """The message of such a notification."""
    return to_message(row(kind, **more))


def page(kind: str = "cap_reached", **more: Any) -> Message:
    """A page about a grant, to on-call."""
    body = {"path": "acme/prod", "owner": "ann@acme.example", "posted": 90 * 10**9, "limit": 100 * 10**9}
    told: dict[str, Any] = {
        "audience": "on_call", "recipients": [], "ticket": None, "dimension": "usd", "body": body, "path": "acme/prod",
    }  # fmt: skip
    return message(kind, **{**told, **more})
