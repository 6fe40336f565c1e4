"""Jira Cloud: an issue per ticket out; transitions, labels and comments in.

After Atlassian's documentation: "The Jira Cloud platform REST API", v3: Issues, Issue comments, Transitions, basic
authentication with an API token, Atlassian Document Format; "Webhooks" with a secret (`X-Hub-Signature`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog

from remit.notify.calls import Endpoint, Reply
from remit.notify.github import DECIDING, LABEL
from remit.notify.hub import is_signed
from remit.notify.ports import Action, Dead, Delivered, Heard, Message, NotGenuine, Outcome, People, TryAgain

_log = structlog.get_logger(__name__)
_GONE: Final = 404


@dataclass(frozen=True, slots=True)
class Statuses:
    """Names of the project's statuses: moving an issue there decides, and Remit moves what is decided there."""

    approved: str = "Approved"
    declined: str = "Declined"


@dataclass(frozen=True, slots=True)
class Jira:
    """Keeps tickets as issues of one project. People are account ids there."""

    endpoint: Endpoint
    people: People
    project: str
    issue_type: str
    statuses: Statuses

    def deliver(self, message: Message) -> Outcome:
        """`remote_ref` is the issue's key."""
        if message.thread and message.ticket:
            outcome = self._follow(message, message.thread)
            if not (isinstance(outcome, Dead) and outcome.status == _GONE):
                return outcome
            if not message.ticket.is_open:
                return Dead(
                    f"issue {message.thread} was deleted, and the ticket is {message.ticket.state}", outcome.status
                )
        return self._create(message)

    def comment(self, key: str, text: str) -> Outcome:
        """Says something on an issue."""
        answer = self.endpoint.call("POST", f"/rest/api/3/issue/{key}/comment", {"body": document(text)})
        return answer if isinstance(answer, TryAgain | Dead) else Delivered(key)

    def _create(self, message: Message) -> Outcome:
        facts = [f"{label}: {value}" for label, value in message.facts if value]
        fields: dict[str, Any] = {
            "project": {"key": self.project},
            "issuetype": {"name": self.issue_type},
            "summary": message.title,
            "description": document("\n".join([_said(message), *facts])),
            "labels": [LABEL],
        }
        # An issue has one assignee; the others are in its text.
        people = message.ticket.assignees if message.ticket else message.recipients
        there = [name for name in map(self.people.named, people) if name]
        if there:
            fields["assignee"] = {"accountId": there[0]}
        answer = self.endpoint.call("POST", "/rest/api/3/issue", {"fields": fields})
        return Delivered(str(answer.body["key"])) if isinstance(answer, Reply) else answer

    def _follow(self, message: Message, key: str) -> Outcome:
        said = self.comment(key, _said(message))
        if isinstance(said, TryAgain | Dead) or (message.ticket and message.ticket.is_open):
            return said
        approved = message.ticket is not None and message.ticket.state == "approved"
        return self._move(key, self.statuses.approved if approved else self.statuses.declined)

    def _move(self, key: str, status: str) -> Outcome:
        """To the status, if the workflow has a way there from here; an issue that is there already has none."""
        listed = self.endpoint.call("GET", f"/rest/api/3/issue/{key}/transitions")
        if not isinstance(listed, Reply):
            return listed
        ways = [
            one["id"] for one in listed.body.get("transitions", []) if one["to"]["name"].casefold() == status.casefold()
        ]
        if ways:
            moved = self.endpoint.call("POST", f"/rest/api/3/issue/{key}/transitions", {"transition": {"id": ways[0]}})
            if isinstance(moved, TryAgain | Dead):
                return moved
        return Delivered(key)


@dataclass(frozen=True, slots=True)
class JiraHook:
    """Hears one project. `own_account` is the account id that Remit itself writes as."""

    name: str
    jira: Jira
    own_account: str
    signing_secret: bytes = field(repr=False)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> list[Heard] | NotGenuine:
        """What an event says: one transition and several labels can come at once."""
        if not is_signed(self.signing_secret, headers.get("x-hub-signature", ""), body):
            return NotGenuine("the signature does not fit")
        payload = json.loads(body)
        try:
            done: list[tuple[Action, str]]
            event, key = payload["webhookEvent"], str(payload["issue"]["key"])
            if key.rpartition("-")[0] != self.jira.project:
                return NotGenuine("it is from another project")
            if event == "comment_created":
                author, done = payload["comment"]["author"], [("comment", _plain(payload["comment"]["body"]))]
            elif event == "jira:issue_created":
                author, done = payload["user"], _opened(payload["issue"]["fields"])
            elif event == "jira:issue_updated":
                author, items = payload["user"], payload.get("changelog", {}).get("items", [])
                done = self._changed(items)
                fields = payload["issue"].get("fields", {})
                # Who edits somebody else's issue does not ask in their name, nor with their words; and who edits the summary
                # alone says nothing anew of a text that somebody else may have written.
                own_words = fields.get("creator", {}).get("accountId") == author["accountId"]
                if own_words and any(item["field"] == "description" for item in items):
                    done += _opened(fields)
            else:
                return []
            account = str(author["accountId"])
            own = account == self.own_account or author.get("accountType", "atlassian") == "app"
            return [
                Heard(action=action, author=account, is_own=own, text=text, remote_ref=key) for action, text in done
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("the payload has not the shape of its event") from error

    def person(self, heard: Heard) -> str | TryAgain | None:
        return self.jira.people.person(heard.author)

    def say(self, heard: Heard, text: str) -> None:
        outcome = self.jira.comment(heard.remote_ref or "", text)
        if isinstance(outcome, TryAgain | Dead):
            _log.warning("answer_not_said", channel=self.name, error=outcome.why)

    def _changed(self, items: list[Mapping[str, Any]]) -> list[tuple[Action, str]]:
        done: list[tuple[Action, str]] = []
        by_status: dict[str, Action] = {
            self.jira.statuses.approved.casefold(): "approve",
            self.jira.statuses.declined.casefold(): "decline",
        }
        for item in items:
            if item["field"] == "status" and (action := by_status.get(str(item["toString"]).casefold())):
                done.append((action, ""))
            if item["field"] == "labels":
                fresh = set(str(item["toString"]).split()) - set(str(item["fromString"]).split())
                done += [(DECIDING[label], "") for label in sorted(fresh & DECIDING.keys())]
        return done


def _opened(fields: Mapping[str, Any]) -> list[tuple[Action, str]]:
    wanted = f"{fields['summary']}\n\n{_plain(fields.get('description') or '')}".strip()
    return [("open", wanted)] if LABEL in fields.get("labels", []) else []


def _said(message: Message) -> str:
    """The text, and what is asked, line by line."""
    return "\n".join([message.text, *(f"- {line}" for line in message.asks)])


def document(text: str) -> dict[str, Any]:
    """Text as Atlassian Document Format, a paragraph for each line."""
    lines = [line for line in text[:30_000].splitlines() if line]
    paragraphs = [{"type": "paragraph", "content": [{"type": "text", "text": line}]} for line in lines]
    return {"type": "doc", "version": 1, "content": paragraphs}


def _plain(body: Any) -> str:
    """The text of a body: webhooks have it plain, the API as a document."""
    if isinstance(body, str):
        return body
    if isinstance(body, Mapping):
        inner = "".join(_plain(one) for one in body.get("content", []))
        return str(body.get("text", "")) + inner + ("\n" if body.get("type") == "paragraph" else "")
    return ""
