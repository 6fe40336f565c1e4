"""GitHub: an issue per ticket out; labels, comments and closing in.

After GitHub's documentation: REST API "Issues" (create, update, comments, assignees), "Rate limits for the REST API";
"Validating webhook deliveries" (`X-Hub-Signature-256`); "Webhook events and payloads" (`issues`, `issue_comment`).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog

from remit.notify.calls import Endpoint, Reply
from remit.notify.hub import is_signed
from remit.notify.ports import Action, Dead, Delivered, Heard, Message, NotGenuine, Outcome, People, TryAgain

_log = structlog.get_logger(__name__)
LABEL: Final = "remit"
DECIDING: Final[Mapping[str, Action]] = {"remit:approve": "approve", "remit:decline": "decline"}
_GONE = frozenset({404, 410})
_MAX_BODY = 60_000
_MARKS: Final = re.compile(r"([\\`*_<\[\]|~])")
_ESCAPED: Final = r"\\\1"


@dataclass(frozen=True, slots=True)
class GitHub:
    """Keeps tickets as issues of one repository (`owner/name`). Messages about no ticket are issues as well."""

    endpoint: Endpoint
    people: People
    repository: str

    def deliver(self, message: Message) -> Outcome:
        """`remote_ref` is the issue's number."""
        if message.thread and message.ticket:
            outcome = self._follow(message, message.thread)
            if not (isinstance(outcome, Dead) and outcome.status in _GONE):
                return outcome
            if not message.ticket.is_open:
                return Dead(
                    f"issue {message.thread} was deleted, and the ticket is {message.ticket.state}", outcome.status
                )
        return self._create(message)

    def comment(self, number: str, text: str) -> Outcome:
        """Says something on an issue."""
        answer = self.endpoint.call("POST", f"{self._issues}/{number}/comments", {"body": text[:_MAX_BODY]})
        return answer if isinstance(answer, TryAgain | Dead) else Delivered(number)

    @property
    def _issues(self) -> str:
        return f"/repos/{self.repository}/issues"

    def _create(self, message: Message) -> Outcome:
        ticket = message.ticket
        people = ticket.assignees if ticket else message.recipients
        there = [name for name in map(self.people.named, people) if name]
        labels = [LABEL, f"remit:{ticket.kind if ticket else message.kind}"]
        body = {"title": message.title, "body": _body(message), "labels": labels, "assignees": there}
        answer = self.endpoint.call("POST", self._issues, body)
        if isinstance(answer, Dead) and answer.status == 422 and there:
            # Somebody who cannot be assigned here (any more) must not keep the ticket from being seen.
            answer = self.endpoint.call("POST", self._issues, {**body, "assignees": []})
        return Delivered(str(answer.body["number"])) if isinstance(answer, Reply) else answer

    def _follow(self, message: Message, number: str) -> Outcome:
        said = self.comment(number, message.text + _asks(message))
        if isinstance(said, TryAgain | Dead) or (message.ticket and message.ticket.is_open):
            return said
        approved = message.ticket is not None and message.ticket.state == "approved"
        change = {"state": "closed", "state_reason": "completed" if approved else "not_planned"}
        closed = self.endpoint.call("PATCH", f"{self._issues}/{number}", change)
        return closed if isinstance(closed, TryAgain | Dead) else Delivered(number)


@dataclass(frozen=True, slots=True)
class GitHubHook:
    """Hears one repository. `own_account` is the login that Remit itself writes as."""

    name: str
    github: GitHub
    own_account: str
    signing_secret: bytes = field(repr=False)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> list[Heard] | NotGenuine:
        """What an event says. Its name is in a header that is not signed, so the payload has to have its shape too."""
        if not is_signed(self.signing_secret, headers.get("x-hub-signature-256", ""), body):
            return NotGenuine("the signature does not fit")
        event, payload = headers.get("x-github-event", ""), json.loads(body)
        if event not in ("issues", "issue_comment"):
            return []
        try:
            if payload["repository"]["full_name"].casefold() != self.github.repository.casefold():
                return NotGenuine("it is from another repository")
            done = _issue_done(payload) if event == "issues" else _comment_done(payload)
            if done is None:
                return []
            action, text = done
            sender = payload["sender"]
            login = str(sender["login"])
            if action == "open" and str(payload["issue"]["user"]["login"]).casefold() != login.casefold():
                # Who edits somebody else's issue does not ask in their name, nor with their words.
                return []
            own = login.casefold() == self.own_account.casefold() or sender.get("type") == "Bot"
            number = str(payload["issue"]["number"])
            return [Heard(action=action, author=login, is_own=own, text=text, remote_ref=number)]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("the payload has not the shape of its event") from error

    def person(self, heard: Heard) -> str | TryAgain | None:
        return self.github.people.person(heard.author)

    def say(self, heard: Heard, text: str) -> None:
        outcome = self.github.comment(heard.remote_ref or "", text)
        if isinstance(outcome, TryAgain | Dead):
            _log.warning("answer_not_said", channel=self.name, error=outcome.why)


def _issue_done(payload: Mapping[str, Any]) -> tuple[Action, str] | None:
    issue, action = payload["issue"], payload["action"]
    if action == "labeled":
        deciding = DECIDING.get(payload["label"]["name"])
        return None if deciding is None else (deciding, "")
    if action == "opened" or (action == "edited" and "body" in payload["changes"]):
        # Who edits the title alone says nothing anew of a text that somebody else may have written.
        labels = {label["name"] for label in issue.get("labels", [])}
        wanted = f"{issue['title']}\n\n{issue.get('body') or ''}".strip()
        return ("open", wanted) if LABEL in labels else None
    if action == "closed":
        return "withdraw", "the issue was closed"
    return ("comment", "the issue was reopened") if action == "reopened" else None


def _comment_done(payload: Mapping[str, Any]) -> tuple[Action, str] | None:
    return ("comment", str(payload["comment"]["body"])) if payload["action"] == "created" else None


def _body(message: Message) -> str:
    facts = "".join(f"| {_cell(label)} | {_cell(value)} |\n" for label, value in message.facts if value)
    table = f"\n\n| | |\n|---|---|\n{facts}" if facts else ""
    how = ""
    if message.ticket and message.ticket.is_open:
        how = "\nWhoever is to decide sets the label `remit:approve` or `remit:decline`. Comments here are comments there.\n"
    return (message.text + _asks(message) + table + how)[:_MAX_BODY]


def _asks(message: Message) -> str:
    """What is asked, as a list; patterns of models have stars, which are no emphasis."""
    lines = "".join(f"\n- {_MARKS.sub(_ESCAPED, line)}" for line in message.asks)
    return f"\n{lines}" if lines else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
