"""Slack: messages with buttons out, presses of them in.

After Slack's documentation: Web API `chat.postMessage`, `chat.update`, `chat.postEphemeral`, `users.lookupByEmail`,
`users.info`; "Block Kit"; "Rate limits" (429 with Retry-After); "Verifying requests from Slack"; "Handling user
interaction" (`block_actions`).
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

import structlog

from remit.notify.calls import Endpoint, Reply
from remit.notify.ports import Dead, Delivered, Heard, Message, NotGenuine, Outcome, People, TryAgain

_log = structlog.get_logger(__name__)
WINDOW_SECONDS: Final = 300
APPROVE: Final = "remit_approve"
DECLINE: Final = "remit_decline"
_ACTIONS: Final[Mapping[str, Any]] = {APPROVE: "approve", DECLINE: "decline"}
# Errors in answers of 200 that pass by themselves; the others are settings that somebody has to mend.
_PASSING = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
_MAX_FACTS = 10
_MAX_BLOCK: Final = 2_900  # the text of a section may have 3,000 characters
_MORE: Final = "… and more: `remit ticket show` has all of it"


@dataclass(frozen=True, slots=True)
class Slack:
    """Posts into `channel`, or without one to each recipient directly. People are found by e-mail, or by settings."""

    endpoint: Endpoint
    people: People
    channel: str | None

    def deliver(self, message: Message) -> Outcome:
        """`remote_ref` is `channel:ts`, several of them joined by commas."""
        if message.thread and message.ticket and message.kind != "ticket_escalated":
            if message.kind == "ticket_commented":
                return self._reply(message)
            return self._update(message)
        rooms = self._rooms(message)
        if isinstance(rooms, TryAgain | Dead):
            return rooms
        if not rooms:
            return Dead("nobody to send it to: no `channel`, and none of the recipients is known to Slack")
        sent = message.so_far.split(",") if message.so_far else []
        for room in rooms[len(sent) :]:
            answer = self._call("chat.postMessage", {"channel": room, **_content(message)})
            if isinstance(answer, TryAgain):
                return TryAgain(answer.after_seconds, answer.why, ",".join(sent) or None)
            if isinstance(answer, Dead):
                return answer
            sent.append(f"{answer['channel']}:{answer['ts']}")
        return Delivered(",".join(sent))

    def _update(self, message: Message) -> Outcome:
        """Rewrites what was posted: a ticket that is decided has no buttons any more."""
        for room, ts in _places(message.thread or ""):
            answer = self._call("chat.update", {"channel": room, "ts": ts, **_content(message)})
            if isinstance(answer, TryAgain):
                return answer
            if isinstance(answer, Dead):
                # Somebody removed the message: what became of the ticket is said in a new one.
                if not answer.why.endswith("message_not_found"):
                    return answer
                answer = self._call("chat.postMessage", {"channel": room, **_content(message)})
                if isinstance(answer, TryAgain | Dead):
                    return answer
        return Delivered(message.thread)

    def _reply(self, message: Message) -> Outcome:
        for room, ts in _places(message.thread or ""):
            answer = self._call("chat.postMessage", {"channel": room, "thread_ts": ts, "text": escaped(message.text)})
            if isinstance(answer, TryAgain | Dead):
                return answer
        return Delivered(message.thread)

    def _rooms(self, message: Message) -> list[str] | TryAgain | Dead:
        if self.channel:
            return [self.channel]
        rooms = []
        for person in message.recipients:
            user = self.people.named(person)
            if user is None:
                found = self._form("users.lookupByEmail", {"email": person})
                if isinstance(found, Dead) and found.why.endswith("users_not_found"):
                    continue
                if isinstance(found, TryAgain | Dead):
                    return found
                user = str(found["user"]["id"])
            rooms.append(user)
        return rooms

    def email_of(self, user: str, workspace: str) -> str | TryAgain | None:
        """The e-mail of a member of this workspace who is a person; None for anybody else."""
        found = self._form("users.info", {"user": user})
        if isinstance(found, TryAgain):
            return found
        if isinstance(found, Dead):
            return None
        one = found["user"]
        if one.get("is_bot") or one.get("deleted") or one.get("is_restricted") or one.get("is_ultra_restricted"):
            return None
        if one.get("team_id") != workspace:
            return None
        email = one.get("profile", {}).get("email")
        return str(email) if email else None

    def whisper(self, room: str, user: str, text: str) -> Outcome:
        """Says something that one person sees."""
        answer = self._call("chat.postEphemeral", {"channel": room, "user": user, "text": escaped(text)})
        return answer if isinstance(answer, TryAgain | Dead) else Delivered()

    def _call(self, name: str, body: Mapping[str, Any]) -> dict[str, Any] | TryAgain | Dead:
        return _judged(name, self.endpoint.call("POST", f"/{name}", body))

    def _form(self, name: str, fields: Mapping[str, str]) -> dict[str, Any] | TryAgain | Dead:
        """These two take no JSON."""
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return _judged(name, self.endpoint.call("POST", f"/{name}", raw=urlencode(fields).encode(), headers=headers))


@dataclass(frozen=True, slots=True)
class SlackHook:
    """Hears presses of buttons, of one workspace."""

    name: str
    slack: Slack
    workspace: str
    signing_secret: bytes = field(repr=False)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> list[Heard] | NotGenuine:
        """The presses in a `block_actions` payload."""
        if problem := _signature_problem(self.signing_secret, headers, body, now):
            return NotGenuine(problem)
        payloads = parse_qs(body.decode(), strict_parsing=True, max_num_fields=4).get("payload", [])
        if len(payloads) != 1:
            raise ValueError("there is not one payload")
        payload = json.loads(payloads[0])
        try:
            if payload["type"] != "block_actions":
                return []
            if (
                payload["team"]["id"] != self.workspace
                or payload["user"].get("team_id", self.workspace) != self.workspace
            ):
                return NotGenuine("it is from another workspace")
            user, room = str(payload["user"]["id"]), str(payload["container"]["channel_id"])
            place = f"{room}:{payload['container']['message_ts']}"
            return [
                Heard(
                    action=_ACTIONS[action["action_id"]],
                    author=user,
                    is_own=False,
                    text="",
                    ticket_id=str(action["value"]),
                    remote_ref=place,
                )
                for action in payload["actions"]
                if action.get("action_id") in _ACTIONS
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("the payload has not the shape of block_actions") from error

    def person(self, heard: Heard) -> str | TryAgain | None:
        """By the settings, or else the e-mail that the workspace has verified."""
        return self.slack.people.person(heard.author) or self.slack.email_of(heard.author, self.workspace)

    def say(self, heard: Heard, text: str) -> None:
        room = (heard.remote_ref or "").partition(":")[0]
        outcome = self.slack.whisper(room, heard.author, text)
        if isinstance(outcome, TryAgain | Dead):
            _log.warning("answer_not_said", channel=self.name, error=outcome.why)


def _signature_problem(secret: bytes, headers: Mapping[str, str], body: bytes, now: datetime) -> str | None:
    seconds, signature = headers.get("x-slack-request-timestamp", ""), headers.get("x-slack-signature", "")
    if not (seconds.isascii() and seconds.isdecimal() and len(seconds) < 13 and signature.isascii()):
        return "it is not signed"
    right = "v0=" + hmac.new(secret, b"v0:" + seconds.encode() + b":" + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(right, signature):
        return "the signature does not fit"
    if abs(int(now.timestamp()) - int(seconds)) > WINDOW_SECONDS:
        return "it was signed more than five minutes ago"
    return None


def _judged(name: str, answer: Reply | TryAgain | Dead) -> dict[str, Any] | TryAgain | Dead:
    """Slack says what failed inside an answer of 200."""
    if not isinstance(answer, Reply):
        return answer
    body = answer.body if isinstance(answer.body, dict) else {}
    if body.get("ok") is True:
        return body
    error = str(body.get("error", "no error named"))[:100]
    return TryAgain(None, f"{name}: {error}") if error in _PASSING else Dead(f"{name}: {error}")


def _content(message: Message) -> dict[str, Any]:
    """The text for notifications, and blocks: text, facts, and buttons while there is something to decide."""
    facts = [f"*{escaped(label)}*\n{escaped(value)}" for label, value in message.facts[:_MAX_FACTS] if value]
    blocks: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": f"*{escaped(message.title)}*\n{escaped(message.text)}"}}
    ]
    if message.asks:
        asks = escaped("\n".join(f"• {line}" for line in message.asks))
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": _cut(asks)}})
    if facts:
        fields = [{"type": "mrkdwn", "text": fact[:2000]} for fact in facts]
        blocks.append({"type": "section", "fields": fields})
    if message.ticket and message.ticket.is_open:
        buttons = [_button(APPROVE, "Approve", "primary"), _button(DECLINE, "Decline", "danger")]
        elements = [{**button, "value": message.ticket.id} for button in buttons]
        blocks.append({"type": "actions", "elements": elements})
    return {"text": escaped(message.title), "blocks": blocks, "unfurl_links": False}


def _cut(text: str) -> str:
    """As many whole lines as a block takes, and that there are more."""
    if len(text) <= _MAX_BLOCK:
        return text
    return text[: text.rfind("\n", 0, _MAX_BLOCK) if "\n" in text[:_MAX_BLOCK] else _MAX_BLOCK] + f"\n{_MORE}"


def _button(action: str, label: str, style: str) -> dict[str, Any]:
    return {"type": "button", "action_id": action, "style": style, "text": {"type": "plain_text", "text": label}}


def escaped(text: str) -> str:
    """Slack's three control characters as entities: what somebody wrote mentions nobody and links nowhere."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _places(thread: str) -> list[tuple[str, str]]:
    return [(room, ts) for room, _, ts in (place.partition(":") for place in thread.split(",") if place)]
